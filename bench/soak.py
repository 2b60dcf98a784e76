"""Random faults at random moments over many small complete runs: do all end as the undisturbed run did?

    python bench/soak.py --kills 100 [--seed 1] [--folder DIR]
    python bench/soak.py --quick                  two hits, in runs with two regions

Each run is the complete recipe on drawn pages: a whole-page stage on two workers, four regions at once, the stack.
During the run, faults hit at moments that the seed draws: one worker (SIGKILL, or SIGSTOP, which is a hang), the
driver, Ray's raylet, or all of them at once. A killed driver is restarted with the same command; everything else is
left to the driver. A hit counts if the process existed and received the signal. Bar: every run ends, and its weights,
figures and predictions equal those of the undisturbed run, bit for bit. It prints one line per run; the folder keeps
the undisturbed run for later calls.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from cluster.liveness import process  # noqa: E402
from data_tools.files import read_lines  # noqa: E402
from launch.run.orphans import open_workers  # noqa: E402

KINDS = ("worker", "worker", "worker", "hang", "driver", "driver", "raylet", "all")
"""What a fault may hit; workers most often, as in practice."""
MOST_FAULTS_PER_RUN = 6
LONGEST_S = 1200.0
POLL_S = 0.05
SETTINGS = (
    "shards.height=32", "shards.width=32", "model.dense=[16]", "stages.holistic_64=null",
    "stages.holistic_32.image_px=16", "stages.holistic_32.epochs=3", "stages.holistic_32.global_batch=24",
    "stages.regions.image_px=32", "stages.regions.epochs=3", "stages.regions.global_batch=24",
    "stages.regions.start=holistic_32", "checkpoint.every_steps=2", "checkpoint.every_seconds=null",
    "checkpoint.agree_steps=1", "cluster.address=local", "cluster.gpus=0", "cluster.slots=2",
    "cluster.workers_per_region=1", "cluster.max_failures=99", "cluster.max_start_failures=99",
    "cluster.silence_timeout_s=15", "cluster.phase_timeout_s=90",
)  # fmt: skip
TWO_REGIONS = "regions={top: [0.0, 0.0, 1.0, 0.5], bottom: [0.0, 0.5, 1.0, 1.0]}"


@dataclass(frozen=True)
class Runs:
    """Where the pages and runs are, and the settings that all runs share."""

    folder: Path
    shared: Sequence[str]

    def settings(self, run: Path) -> list[str]:
        """Arguments of the run in the folder `run`."""
        pages = self.folder / "pages"
        chosen = [
            f"data.root={pages}", f"data.class_names={pages / 'classes.txt'}",
            *(f"data.{split}={pages / 'labels' / split}.txt" for split in ("train", "val", "test")),
            f"shards.folder={self.folder / 'shards'}", f"run.folder={run}", *self.shared,
        ]  # fmt: skip
        return ["--config", "demo", *(part for setting in chosen for part in ("--set", setting))]


@dataclass
class Soaked:
    """One run: what was hit, how often the command was started, and what went wrong (empty: nothing)."""

    hits: list[str] = field(default_factory=list)
    starts: int = 0
    problem: str | None = None


def main() -> int:
    """Print a line per run, then the summary as one line of JSON; 0 if every run equals the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two kills, in one run")
    parser.add_argument("--folder", type=Path, help="keep pages and runs here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        if options.quick:
            return soak(Runs(folder / "quick", (*SETTINGS, TWO_REGIONS)), kills=2, seed=options.seed)
        return soak(Runs(folder, SETTINGS), kills=options.kills, seed=options.seed)


def soak(runs_of: "Runs", *, kills: int, seed: int) -> int:
    """Run until `kills` faults have hit; the exit status."""
    folder = runs_of.folder
    undisturbed, seconds = reference(runs_of)
    print(f"undisturbed: {seconds:.0f} s")
    rng, runs = random.Random(seed), list[Soaked]()
    while (left := kills - sum(len(run.hits) for run in runs)) > 0:
        place = folder / f"soaked-{seed}-{len(runs) + 1}"
        began = time.monotonic()
        run = one_run(runs_of, place, rng, max_faults=min(left, MOST_FAULTS_PER_RUN), pause_s=seconds / 2)
        if run.problem is None and (differs := different(undisturbed, outcome(place))):
            run.problem = f"differs from the undisturbed run in {', '.join(differs)}"
        runs.append(run)
        what = ", ".join(run.hits) or "nothing"
        took = time.monotonic() - began
        print(f"run {len(runs)}: hit {what}; {run.starts} starts, {took:.0f} s: {run.problem or 'equal'}", flush=True)
    return summary(runs)


def summary(runs: list[Soaked]) -> int:
    """Print the last line; the exit status."""
    equal = sum(run.problem is None for run in runs)
    hits = Counter(hit.partition(" ")[0] for run in runs for hit in run.hits)
    holds = equal == len(runs)
    line = {"bench": "soak", "figure": equal / len(runs), "bar": 1.0, "holds": holds}
    print(json.dumps(line | {"runs": len(runs), "kills": hits.total(), **dict(sorted(hits.items()))}))
    return 0 if holds else 1


def reference(runs: Runs) -> tuple[dict[str, Any], float]:
    """The outcome of an undisturbed run and its seconds; made once per folder."""
    folder = runs.folder
    kept = folder / "undisturbed.json"
    if not kept.exists():
        counts = ["--train", "6", "--val", "2", "--test", "2"]
        run_command(["draw", "--out", str(folder / "pages"), *counts])
        began = time.monotonic()
        run_command(["train-all", *runs.settings(folder / "undisturbed")])
        kept.write_text(json.dumps({"seconds": time.monotonic() - began}))
    return outcome(folder / "undisturbed"), float(json.loads(kept.read_text())["seconds"])


def one_run(runs: Runs, place: Path, rng: random.Random, *, max_faults: int, pause_s: float) -> Soaked:
    """Run the recipe with up to `max_faults` faults; before each, a random pause of up to `pause_s` seconds."""
    run, until = Soaked(), time.monotonic() + LONGEST_S
    while True:
        run.starts += 1
        output = place.with_suffix(f".{run.starts}.txt")
        with output.open("w") as file:
            command = [sys.executable, "-m", "launch.cli", "train-all", *runs.settings(place)]
            driver = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        while len(run.hits) < max_faults and driver.poll() is None:
            hit_once(driver, place, rng, run, pause_s)
        try:
            status = driver.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            run.problem = f"not over after {LONGEST_S:.0f} s ({output})"
            return run
        if status == 0:
            return run
        if status != -signal.SIGKILL:
            run.problem = f"exit status {status} ({output})"
            return run


def hit_once(driver: "subprocess.Popen[bytes]", place: Path, rng: random.Random, run: Soaked, pause_s: float) -> None:
    """Wait for the random moment, then hit the random target if it exists."""
    kind, moment = rng.choice(KINDS), time.monotonic() + rng.uniform(0.5, pause_s)
    which = rng.random()
    while time.monotonic() < moment:
        if driver.poll() is not None:
            return
        time.sleep(POLL_S)
    workers, raylet = live_workers(place), raylet_of(driver.pid)
    raylets = [raylet] if raylet else []
    number = signal.SIGSTOP if kind == "hang" else signal.SIGKILL
    targets = {
        "worker": workers[int(which * len(workers)) :][:1], "hang": workers[int(which * len(workers)) :][:1],
        "driver": [driver.pid], "raylet": raylets, "all": [driver.pid, *raylets, *workers],
    }[kind]  # fmt: skip
    hit = [pid for pid in targets if send(pid, number)]
    if hit:
        run.hits.append(f"{kind} ({running_jobs(place)})")
    if driver.pid in hit:
        driver.wait()


def send(pid: int, number: int) -> bool:
    """Whether the signal reached a process that was still alive."""
    if process.ticks_of(pid) is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def live_workers(place: Path) -> list[int]:
    """The live workers of the run, by its record."""
    found = [one for _, one in open_workers(read_lines(place / "events.jsonl"))]
    return [int(one["pid"]) for one in found if process.is_alive(int(one["pid"]), int(one["ticks"]))]


def running_jobs(place: Path) -> str:
    """Names of the running jobs."""
    names = dict.fromkeys(job for job, _ in open_workers(read_lines(place / "events.jsonl")))
    return ", ".join(names) or "between jobs"


def raylet_of(driver: int) -> int | None:
    """The raylet that the driver started."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            program = (entry / "cmdline").read_bytes().partition(b"\0")[0]
        except OSError:
            continue
        if parent == driver and program.endswith(b"/raylet"):
            return int(entry.name)
    return None


def outcome(place: Path) -> dict[str, Any]:
    """By job: the figures of its result and its predictions."""
    found: dict[str, Any] = {}
    for path in sorted(place.glob("jobs/*/result.json")):
        result, job = json.loads(path.read_text()), path.parent.name
        for name in ("weights_digest", "best_epoch", "val_accuracy", "test_accuracy", "val_loss", "test_loss"):
            found[f"{job}.{name}"] = result.get(name)
        for split in ("val", "test"):
            with np.load(path.parent / "predictions" / f"{split}.npz", allow_pickle=False) as arrays:
                found[f"{job}.{split}.npz"] = {name: arrays[name].tobytes() for name in arrays.files}
    return found


def different(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The difference between two outcomes, in words; empty if they are equal."""
    return sorted(name for name in {*ours, *theirs} if name not in ours or ours[name] != theirs.get(name))


def run_command(arguments: list[str]) -> None:
    """Run the command line; its output goes to stderr."""
    command = [sys.executable, "-m", "launch.cli", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, env=environment())


def environment() -> dict[str, str]:
    """The environment of this process, with one thread per worker and the project importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


if __name__ == "__main__":
    sys.exit(main())
