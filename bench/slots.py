"""Slots of a host without GPUs: two workers of one thread each, or one worker of two threads?

    python bench/slots.py [--quick] [--rounds N]

On two cores, for a small, a middle and a large network, the same global batch: one worker with two threads; two workers
of one thread, each on its own core, that train one model (a whole-page stage); and the same two without collectives
(two regions at once). They take turns while the others are stopped; each figure is a median of ratios within a round.
There is no bar: the default number of slots follows the table (docs/performance.md).
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import scaling  # noqa: E402


@dataclass(frozen=True)
class Case:
    """A network at a size, the pages of each of two workers, and the steps in a turn."""

    backbone: str
    px: int
    batch: int
    steps: int


CASES = (
    Case("SmallConvNet", 64, 32, 20),
    Case("MobileNetV2", 128, 16, 2),
    Case("InceptionResNetV2", 128, 8, 1),
)


def main() -> int:
    """Print the table, then the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small network alone")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for case in CASES[:1] if options.quick else CASES:
            shards = scaling.make_shards(Path(name) / case.backbone, case.px)
            figures[case.backbone] = report(case, measure(case, shards, options.rounds))
    print(json.dumps({"bench": "slots", "figure": figures, "bar": None, "holds": True}))
    return 0


def measure(case: Case, shards: Path, rounds: int) -> list[scaling.Turn]:
    """The rounds after the first, which traces."""
    plan = scaling.Plan(shards, case.backbone, case.batch, rounds, solo_cores=2, deterministic=True)
    with scaling.workers(plan) as (solo, pair):
        turns = [
            scaling.one_round(
                solo, pair, forwards=number % 2 == 0, steps=case.steps, names=("alone", "apart", "together")
            )
            for number in range(rounds + 1)
        ]
    return turns[1:]


def report(case: Case, turns: Sequence[scaling.Turn]) -> dict[str, float]:
    """Print the rows of one network; times as fast as one worker of two threads."""
    pages = 2 * case.batch * case.steps
    print(f"{case.backbone} at {case.px} px, {2 * case.batch} pages a step, {len(turns)} rounds")
    others = statistics.median(turn.others for turn in turns)
    print(f"  other programs took {100 * others:.0f} % of the cores")
    columns = {
        "one worker, two threads": "alone",
        "two workers, one model": "together",
        "two workers, two models": "apart",
    }
    ratios = {}
    for name, column in columns.items():
        rate = statistics.median(pages / getattr(turn, column) for turn in turns)
        ratios[column] = statistics.median(turn.alone / getattr(turn, column) for turn in turns)
        print(f"  {name:<26} {rate:8.1f} pages/s   {ratios[column]:5.2f}")
    return {"one model": round(ratios["together"], 3), "two models": round(ratios["apart"], 3)}


if __name__ == "__main__":
    sys.exit(main())
