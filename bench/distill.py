"""What a distilled model keeps of its stack's gain, and how long it takes beside the whole-page model.

    python bench/distill.py RUN
    python bench/distill.py --quick

RUN: a finished run with a student (`regionstack distill RUN`). The gain is counted on the run's test pages; the report
has its intervals. Time: both models on the same stored pages in batches of 16, in turns in one process; the ratio of
the shortest times, which other processes disturb least. Bars: at least 60 % of the gain at no more than 1.1 times the
time. The JSON line's figure is the share of the gain, `time` stands beside it; a run whose stack gains nothing has no
share, and its bar does not hold.
`--quick` measures the time alone, of a run with random weights, which do not change it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

from data_tools.files import read_json  # noqa: E402
from launch.api import open_run  # noqa: E402
from trainer.device import prepare_inference  # noqa: E402
from trainer.distill.student import holistic_member  # noqa: E402
from trainer.job_folder.journal import RESULT, job_folder  # noqa: E402
from trainer.serving.ensemble import RegionPages, open_member  # noqa: E402
from trainer.soft_targets.config import DISTILLED  # noqa: E402

KEPT, TIME = 0.60, 1.1
BATCH = 16
TURNS, QUICK_TURNS = 40, 16


@dataclass(frozen=True)
class Figures:
    """Of a run's student. kept: share of the stack's gain on the test pages, None without a gain or not measured.

    time: its inference time divided by that of the whole-page model.
    """

    kept: float | None
    time: float


def main() -> int:
    """Print the table, then the figures as one line of JSON; 0 if the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", metavar="RUN", help="a finished run with a student")
    parser.add_argument("--quick", action="store_true", help="time alone, on a run with random weights")
    options = parser.parse_args()
    if options.quick == bool(options.run):
        parser.error("give RUN, or --quick")
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            found = Figures(None, time_ratio(_untrained(Path(folder)), turns=QUICK_TURNS))
        holds = found.time <= TIME
    else:
        found = measure(Path(options.run))
        holds = found.kept is not None and found.kept >= KEPT and found.time <= TIME
    print(f"share of the stack's gain: {'–' if found.kept is None else f'{found.kept:.0%}'} (bar {KEPT:.0%})")
    print(f"inference time of the whole-page model's: {found.time:.3f} (bar {TIME})")
    kept = None if found.kept is None else round(found.kept, 3)
    print(json.dumps({"bench": "distill", "figure": kept, "bar": KEPT, "holds": holds, "time": round(found.time, 3),
                      "time_bar": TIME}))  # fmt: skip
    return 0 if holds else 1


def measure(run: Path, *, turns: int = TURNS) -> Figures:
    """The figures of a run's student.

    Raises:
        UserError: the run has no finished student.
    """
    kept = dict(read_json(job_folder(run, DISTILLED) / RESULT))["distilled"]["kept"]
    return Figures(kept, time_ratio(run, turns=turns))


def time_ratio(run: Path, *, turns: int) -> float:
    """The student's shortest inference time of `turns`, divided by that of the stack's whole-page member."""
    import tensorflow as tf

    prepare_inference()
    record = open_run(run).record
    regions = {name: RegionPages(record.shape, edges) for name, edges in record.regions.items()}
    names = (DISTILLED, holistic_member(run))
    pages = tf.constant(np.random.default_rng(1).integers(0, 256, (BATCH, *record.shape), np.uint8))
    models = [open_member(run, name, regions, classes=len(record.class_ids)).model for name in names]
    calls: list[Any] = [tf.function(lambda x, model=model: model(x, training=False)) for model in models]
    for call in calls:
        call(pages)
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for place in (0, 1) if turn % 2 else (1, 0):
            seconds[place].append(_seconds(calls[place], pages))
    return min(seconds[0]) / min(seconds[1])


def _seconds(call: Any, pages: Any) -> float:
    began = time.perf_counter()
    call(pages).numpy()
    return time.perf_counter() - began


def _untrained(folder: Path) -> Path:
    """A run with random weights whose student has the network of its whole-page model."""
    from tests.helpers.untrained_run import make_member, make_run, make_shards

    config = make_shards(folder, "model.backbone=MobileNetV2", "shards.height=128", "shards.width=128")
    run = make_run(config)
    make_member(run, DISTILLED, region="holistic", config=config)
    return run


if __name__ == "__main__":
    sys.exit(main())
