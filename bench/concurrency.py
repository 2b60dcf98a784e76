"""The region phase against its longest job alone on one group: the cost of running all regions at once.

    python bench/concurrency.py [--quick]

As many regions as cores, each on a group of its own (at least two, at most eight): one worker a group, one core a
worker, both when it runs beside the others and alone. `cluster.bind_cores` enforces that; without it, a job alone would
use the cores of the idle groups, which cannot happen with GPUs. The phase lasts from the start of the first job to the
end of the last one, in a run that trains a whole-page model first, as every recipe does: Ray and its helpers are up by
then. Start-up is included and shown separately; it ends with the first epoch, when workers are up, TensorFlow is
imported, the ranks have connected and the step is compiled. Start-up takes seconds, so the jobs take over a minute.
Each measurement is repeated in turn and the shortest counts, because other work on the machine only adds time.

For comparison, the limit of the machine: the same jobs by hand (`launch/train.py`, no Ray), each pinned to a core, all
at once and alone. Cores that share memory bandwidth, or are threads of one core, slow each other down under any
launcher. Bar: the phase takes at most 5 % longer than its longest job alone.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_tools.files import read_lines  # noqa: E402

BAR = 1.05
MOST_GROUPS = 8


@dataclass(frozen=True)
class Span:
    """Start of a job, end of its first epoch, and its end; unix seconds."""

    started: float
    running: float
    done: float

    @property
    def start_up(self) -> float:
        """Seconds to the end of the first epoch."""
        return self.running - self.started

    @property
    def training(self) -> float:
        """Seconds from the end of the first epoch to the end of the job."""
        return self.done - self.running

    @property
    def seconds(self) -> float:
        """Seconds from start to end."""
        return self.done - self.started


@dataclass(frozen=True)
class Turn:
    """One measurement: all regions at once, the longest alone, and both by hand, in seconds."""

    together: dict[str, Span]
    longest: str
    alone: Span
    by_hand: float
    by_hand_alone: float


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="two short region jobs, one turn, 80 s in all; half of that is start-up"
    )
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    groups = 2 if options.quick else max(2, min(len(cores), MOST_GROUPS))
    with tempfile.TemporaryDirectory(prefix="regionstack-bench-") as name:
        bench = Bench(Path(name), groups, epochs=8 if options.quick else 120)
        turns = [bench.turn(number, cores) for number in range(1 if options.quick else 3)]
    return report(turns)


class Bench:
    """A tiny data set, its shards, and a run whose next phase is the regions."""

    def __init__(self, folder: Path, groups: int, *, epochs: int) -> None:
        self._folder = folder
        self.regions = [f"band{number}" for number in range(groups)]
        config = self._config(groups, epochs)
        (folder / "bench.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        self._regionstack("draw", "--out", "pages", "--train=40", "--val=4", "--test=4")
        self._regionstack("convert", "--config", "bench.yaml")
        # Start weights of the jobs by hand.
        run = ["--stage", "whole", "--config", "bench.yaml", "--set", "run.folder=before"]
        self._wait([self._begin([sys.executable, ROOT / "launch" / "train.py", *run])])

    def _config(self, groups: int, epochs: int) -> dict[str, Any]:
        stage = {"image_px": 64, "global_batch": 32, "optimizer": {"name": "adam", "learning_rate": 5e-4}}
        bands = {name: [0, 0.5 * i / groups, 1, 0.5 + 0.5 * i / groups] for i, name in enumerate(self.regions)}
        pages = {split: f"pages/labels/{split}.txt" for split in ("train", "val", "test")}
        return {
            "preset": "demo",
            "data": {"root": "pages", "class_names": "pages/classes.txt", **pages},
            "regions": bands,
            "shards": {"folder": "shards"},
            "stages": {
                "holistic_32": None,
                "holistic_64": None,
                "whole": {"region": "holistic", "epochs": 1, **stage},
                "regions": {"region": "each", "start": "whole", "epochs": epochs, **stage},
            },
            "cluster": {"slots": groups, "workers_per_region": 1, "address": "local", "gpus": 0, "bind_cores": True},
            "run": {"folder": "run"},
        }

    def turn(self, number: int, cores: Sequence[int]) -> Turn:
        """Measure all regions at once, then the longest of them alone; then both by hand."""
        together = self._train(f"together{number}", self.regions)
        longest = max(together, key=lambda region: together[region].seconds)
        alone = self._train(f"alone{number}", [longest], done_in=f"together{number}")[longest]
        at_once = self._by_hand(f"hand-together{number}", self.regions, cores)
        return Turn(together, longest, alone, at_once, self._by_hand(f"hand-alone{number}", [longest], cores))

    def _train(self, name: str, regions: Sequence[str], *, done_in: str = "") -> dict[str, Span]:
        """Train the whole page and these regions; all other jobs are taken from the run `done_in`."""
        run = self._from_start(name)
        shutil.rmtree(run / "jobs" / "whole")
        for left_out in set(self.regions) - set(regions):
            shutil.copytree(self._folder / done_in / "jobs" / left_out, run / "jobs" / left_out)
        self._regionstack("train-all", "--config", "bench.yaml", "--set", f"run.folder={name}")
        moments = {(event["job"], event["event"]): float(event["time"]) for event in read_lines(run / "events.jsonl")}
        spans = {}
        for region in regions:
            first_epoch = read_lines(run / "jobs" / region / "metrics.jsonl")[0]
            spans[region] = Span(moments[region, "started"], float(first_epoch["time"]), moments[region, "done"])
        return spans

    def _by_hand(self, name: str, regions: Sequence[str], cores: Sequence[int]) -> float:
        """Seconds of the same jobs without Ray, each pinned to its own core."""
        runs = [(region, self._from_start(f"{name}-{region}")) for region in regions]
        begun = time.monotonic()
        processes = []
        for region, run in runs:
            core = cores[self.regions.index(region) % len(cores)]
            job = [
                "--stage",
                "regions",
                "--region",
                region,
                "--config",
                "bench.yaml",
                "--set",
                f"run.folder={run.name}",
            ]
            program = [sys.executable, ROOT / "launch" / "train.py", *job]
            processes.append(self._begin(["taskset", "--cpu-list", str(core), *program]))
        self._wait(processes)
        return time.monotonic() - begun

    def _from_start(self, name: str) -> Path:
        return Path(shutil.copytree(self._folder / "before", self._folder / name))

    def _regionstack(self, *arguments: str) -> None:
        self._wait([self._begin([sys.executable, "-m", "launch.cli", *arguments])])

    def _begin(self, command: Sequence[str | Path]) -> "subprocess.Popen[str]":
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "REGIONSTACK_THREADS": "1"}
        return subprocess.Popen(
            [str(part) for part in command], cwd=self._folder, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _wait(self, begun: Sequence["subprocess.Popen[str]"]) -> None:
        for process in begun:
            output, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"{' '.join(map(str, process.args))}\n{output}")  # type: ignore[arg-type]


def report(turns: Sequence[Turn]) -> int:
    """Print the table and the line of JSON."""
    together = min((turn.together for turn in turns), key=lambda spans: phase_of(spans).seconds)
    longest, alone = min(((turn.longest, turn.alone) for turn in turns), key=lambda pair: pair[1].seconds)
    at_once, one = min(turn.by_hand for turn in turns), min(turn.by_hand_alone for turn in turns)
    phase = phase_of(together)
    rows = {f"{region}, beside the others": span for region, span in together.items()}
    rows |= {"the phase": phase, f"{longest} alone": alone}
    print(f"{len(together)} regions on {len(together)} groups of one core, {os.cpu_count()} cores, {len(turns)} turns")
    print(f"  {'':<34} {'total':>9} {'start-up':>9} {'training':>9}")
    for name, span in rows.items():
        print(f"  {name:<34} {span.seconds:7.1f} s {span.start_up:7.1f} s {span.training:7.1f} s")
    print(f"  by hand, each pinned to a core: at once {at_once:.1f} s, one alone {one:.1f} s")
    figure, training, machine = phase.seconds / alone.seconds, phase.training / alone.training, at_once / one
    print(f"  the phase takes {figure:.3f} x; training alone {training:.3f} x; by hand {machine:.3f} x (machine limit)")
    holds = figure <= BAR
    parts = {"training": round(training, 4), "by_hand": round(machine, 4)}
    print(json.dumps({"bench": "concurrency", "figure": round(figure, 4), "bar": BAR, "holds": holds, **parts}))
    return 0 if holds else 1


def phase_of(spans: Mapping[str, Span]) -> Span:
    """The span of all jobs: start-up ends with the last of their first epochs."""
    ends = [(span.started, span.running, span.done) for span in spans.values()]
    started, running, done = zip(*ends, strict=True)
    return Span(min(started), max(running), max(done))


if __name__ == "__main__":
    sys.exit(main())
