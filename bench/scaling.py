"""What collectives cost two workers on two cores, and what sharing the machine costs them.

    python bench/scaling.py [--quick] [--settings]

Three processes, each pinned to one core: a single worker, and a pair under horovodrun. They take turns while the others
are stopped: matrix products alone, by the single worker and by the pair, which shows what the machine itself loses with
two busy cores (clock, memory, other guests); the single worker's step; the pair's step without collectives; and with
them. Every round gives ratios. The figure is the median of the pair's step without collectives as a part of that with
them: what is ours. A round in which other programs took more than 2 % of the cores is repeated, at most as often as
there are rounds; the quietest rounds count.
Bar: 97 % (InceptionResNetV2 at 128 px, 64 pages per worker). --settings adds a table of Horovod's settings.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.scaling_worker import ADDRESS, KEY  # noqa: E402
from data_tools.conversion.convert import DataConfig, ShardConfig, convert  # noqa: E402
from data_tools.drawn import draw_data_set  # noqa: E402

BAR = 0.97
PX = 128
QUIET = 0.02
"""Share of the cores that other programs may take in a round."""
WORKER = Path(__file__).with_name("scaling_worker.py")
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "Horovod's defaults": {},
    "fusion_mib: 0": {"HOROVOD_FUSION_THRESHOLD": "0"},
    "fusion_mib: 16": {"HOROVOD_FUSION_THRESHOLD": str(16 * 2**20)},
    "fusion_mib: 256": {"HOROVOD_FUSION_THRESHOLD": str(256 * 2**20)},
    "cycle_ms: 10": {"HOROVOD_CYCLE_TIME": "10"},
    "cycle_ms: 50": {"HOROVOD_CYCLE_TIME": "50"},
    "compression: fp16": {},
}


@dataclass(frozen=True)
class Turn:
    """Seconds per step in one round: a single worker, and the pair without and with collectives.

    products_alone, products: seconds of the matrix products, of the single worker and of the pair.
    """

    alone: float
    apart: float
    together: float
    others: float
    """Share of the cores that other programs took during the round."""
    products_alone: float = 0.0
    products: float = 0.0


@dataclass
class Worker:
    """A process that runs in turns."""

    host: Connection
    role: str
    rank: int
    pid: int

    def ask(self, mode: str, steps: int) -> None:
        """Start its turn."""
        self.host.send_bytes(json.dumps({"mode": mode, "steps": steps}).encode())

    def seconds(self) -> float:
        """Wait for the end of the turn; its seconds."""
        return float(json.loads(self.host.recv_bytes())["seconds"])


@dataclass
class Plan:
    """The network and batch that are measured."""

    shards: Path
    backbone: str
    batch: int
    rounds: int
    environment: Mapping[str, str] = field(default_factory=dict)
    compression: str = "none"
    solo_cores: int = 1
    """Cores, and threads, of the single worker; it takes `batch` pages for each."""
    deterministic: bool = False

    def command(self, *, cores: int = 1) -> list[str]:
        """The command line of a worker with so many cores."""
        options = {"shards": self.shards, "backbone": self.backbone, "batch": self.batch * cores, "cores": cores}
        flat = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        flags = ["--deterministic"] if self.deterministic else []
        return [sys.executable, str(WORKER), *flat, "--compression", self.compression, *flags]


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small backbone, without a bar")
    parser.add_argument("--settings", action="store_true", help="also: the effect of Horovod's settings")
    parser.add_argument("--batch", type=int, default=64, help="pages per worker (default: 64)")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    backbone, batch, rounds = ("MobileNetV2", 16, 4) if options.quick else (
        "InceptionResNetV2", options.batch, options.rounds
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        shards = make_shards(Path(name))
        turns = measure(Plan(shards, backbone, batch, rounds))
        figure = report(turns, backbone, batch)
        if options.settings:
            compare_settings(shards, backbone, 16, 3)
    holds = figure >= BAR or options.quick
    bar = None if options.quick else BAR
    print(json.dumps({"bench": "scaling", "figure": round(figure, 4), "bar": bar, "holds": holds}))
    return 0 if holds else 1


def make_shards(folder: Path, px: int = PX, *, train: int = 10) -> Path:
    """Drawn pages as shards of `px` px. train: training pages per class."""
    pages = folder / "pages"
    draw_data_set(pages, seed=1, pages_per_class={"train": train, "val": 1, "test": 1})
    labels = {split: str(pages / "labels" / f"{split}.txt") for split in ("train", "val", "test")}
    config = ShardConfig(folder=str(folder / "shards"), height=px, width=px)
    convert(DataConfig(root=str(pages), **labels), config, regions={}, seed=1)
    return folder / "shards"


def measure(plan: Plan) -> list[Turn]:
    """Start the workers and let them take turns; the first round, which traces and warms up, is discarded."""
    with workers(plan) as (solo, pair):
        one_round(solo, pair, forwards=True)
        turns: list[Turn] = []
        while sum(turn.others < QUIET for turn in turns) < plan.rounds and len(turns) < 2 * plan.rounds:
            turns.append(one_round(solo, pair, forwards=len(turns) % 2 == 0))
    return sorted(turns, key=lambda turn: turn.others)[: plan.rounds]


TURNS = {
    "products_alone": ("solo", "products"),
    "products": ("pair", "products"),
    "alone": ("solo", "apart"),
    "apart": ("pair", "apart"),
    "together": ("pair", "together"),
}
"""By column of `Turn`: who is active, and in which mode."""


def one_round(
    solo: Sequence[Worker], pair: Sequence[Worker], *, forwards: bool, steps: int = 1, names: Sequence[str] = (*TURNS,)
) -> Turn:
    """One turn of each of `names`, of `steps` steps, in reverse order in every other round: a drift favors none."""
    names = names if forwards else list(reversed(names))
    seconds = {}
    began, busy = time.perf_counter(), busy_beside([*solo, *pair])
    for name in names:
        role, mode = TURNS[name]
        active, idle = (solo, pair) if role == "solo" else (pair, solo)
        for worker in idle:
            os.kill(worker.pid, signal.SIGSTOP)
        for worker in active:
            worker.ask(mode, steps)
        seconds[name] = max(worker.seconds() for worker in active)
        for worker in idle:
            os.kill(worker.pid, signal.SIGCONT)
    taken = busy_beside([*solo, *pair]) - busy
    return Turn(**seconds, others=taken / (time.perf_counter() - began) / (os.cpu_count() or 1))


def busy_beside(workers: Sequence[Worker]) -> float:
    """Core-seconds since boot that programs other than the workers took."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    own = 0
    for worker in workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        own += int(fields[11]) + int(fields[12])
    # user, nice, system and steal; not interrupts, most of which come from the collectives.
    return (sum(ticks[:3]) + ticks[7] - own) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def workers(plan: Plan) -> Iterator[tuple[list[Worker], list[Worker]]]:
    """The single worker and the pair, ready; ended on exit."""
    key = secrets.token_bytes(16)
    with Listener(("127.0.0.1", 0), authkey=key) as listener, tempfile.TemporaryFile() as log:
        environment = {
            **os.environ, **plan.environment, KEY: key.hex(), ADDRESS: str(listener.address[1]),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # A stopped pair's clock runs on: the turns of others must not end its connections.
            "HOROVOD_GLOO_TIMEOUT_SECONDS": "600",
        }  # fmt: skip
        launcher = [str(Path(sys.executable).parent / "horovodrun"), "-np", "2"]
        commands = (plan.command(cores=plan.solo_cores), [*launcher, *plan.command()])
        options: dict[str, Any] = {"env": environment, "stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
        processes = [subprocess.Popen(command, **options) for command in commands]
        ready: list[Worker] = []
        try:
            # Start all of them first: the two of the pair wait for each other before they connect.
            hosts = [listener.accept() for _ in range(3)]
            ready = [Worker(host, **json.loads(host.recv_bytes())) for host in hosts]
            ready.sort(key=lambda worker: worker.rank)
            yield [w for w in ready if w.role == "solo"], [w for w in ready if w.role == "pair"]
        except EOFError:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise SystemExit("a worker ended; its last output is above") from None
        finally:
            for worker in ready:
                os.kill(worker.pid, signal.SIGCONT)
                worker.host.close()
            for process in processes:
                process.wait(timeout=60)


def report(turns: Sequence[Turn], backbone: str, batch: int) -> float:
    """Print the table; returns the pair's step without collectives as a part of that with them, a median of rounds."""
    print(f"{backbone} at {PX} px, {batch} pages per worker, each worker on one core, {len(turns)} rounds")
    worst = max(turn.others for turn in turns)
    print(f"  other programs took up to {100 * worst:.1f} % of the cores during the rounds")
    rows = {
        "matrix products, 1 process": ("products_alone", None, ""),
        "matrix products, 2 processes": ("products", "products_alone", "the machine's own share"),
        "1 worker": ("alone", None, ""),
        "2 workers, no collectives": ("apart", "alone", "sharing the machine"),
        "2 workers": ("together", "alone", "weak scaling"),
    }
    for name, (column, base, about) in rows.items():
        seconds = statistics.median(getattr(turn, column) for turn in turns)
        share = f"{100 * _median_ratio(turns, base, column):6.1f} %   ({about})" if base else ""
        print(f"  {name:<30} {seconds:8.3f} s   {share}")
    figure = _median_ratio(turns, "apart", "together")
    print(f"  {'collectives: without / with':<30} {'':8}     {100 * figure:6.1f} %   (ours)")
    return figure


def _median_ratio(turns: Sequence[Turn], above: str, below: str) -> float:
    return statistics.median(getattr(turn, above) / getattr(turn, below) for turn in turns)


def compare_settings(shards: Path, backbone: str, batch: int, rounds: int) -> None:
    """Print the effect of each of Horovod's settings on the step of the pair."""
    print(f"\n{backbone} at {PX} px, {batch} pages per worker: settings of the collectives")
    for name, environment in SETTINGS.items():
        compression = "fp16" if name.endswith("fp16") else "none"
        turns = measure(Plan(shards, backbone, batch, rounds, environment, compression))
        together = statistics.median(turn.together for turn in turns)
        cost = statistics.median(turn.together - turn.apart for turn in turns)
        ratio = _median_ratio(turns, "apart", "together")
        print(f"  {name:<20} {together:8.3f} s per step   {100 * ratio:6.1f} %   collectives {cost:7.3f} s")


if __name__ == "__main__":
    sys.exit(main())
