"""Test accuracy of every model of the demo over three seeds, and the gain of the stack over the whole-page model.

    python bench/seeds.py [--quick] [--folder DIR]

Each seed determines the order of pages, initial weights and dropout, and is a complete run: conversion, whole-page
stages, four regions at once, stack. Bar: with every seed, the test accuracy of the stack is at least that of the
whole-page model.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from launch.config import load_config  # noqa: E402
from launch.recipe.stages import plan_recipe  # noqa: E402

SEEDS = (1, 2, 3)
QUICK = ("stages.holistic_32.epochs=1", "stages.holistic_64.epochs=2", "stages.regions.epochs=1")


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, few pages and epochs")
    parser.add_argument("--folder", type=Path, help="keep pages and runs here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        counts = ["--train", "20", "--val", "10", "--test", "10"] if options.quick else []
        command("draw", "--out", str(folder / "pages"), *counts)
        seeds = SEEDS[:1] if options.quick else SEEDS
        gains = [one_seed(folder, seed, QUICK if options.quick else ()) for seed in seeds]
    worst = min(gains)
    print(json.dumps({"bench": "seeds", "figure": round(worst, 4), "bar": 0.0, "holds": worst >= 0}))
    return 0 if worst >= 0 else 1


def one_seed(folder: Path, seed: int, more: tuple[str, ...]) -> float:
    """Train the demo with one seed; prints its row and returns the stack's gain in test accuracy."""
    pages = folder / "pages"
    settings = [
        f"seed={seed}", f"data.root={pages}", f"data.class_names={pages / 'classes.txt'}",
        *(f"data.{split}={pages / 'labels' / split}.txt" for split in ("train", "val", "test")),
        f"shards.folder={folder / f'shards-{seed}'}", f"run.folder={folder / f'run-{seed}'}", *more,
    ]  # fmt: skip
    began = time.monotonic()
    command("train-all", "--config", "demo", *(part for setting in settings for part in ("--set", setting)))
    recipe = plan_recipe(load_config("demo"))
    names = [*recipe.members, "stack"]
    results = {n: json.loads((folder / f"run-{seed}" / "jobs" / n / "result.json").read_text()) for n in names}
    accuracies = {name: result["test_accuracy"] for name, result in results.items()}
    row = "  ".join(f"{name} {accuracy:.1%}" for name, accuracy in accuracies.items())
    print(f"seed {seed}: {row}  ({time.monotonic() - began:.0f} s)", flush=True)
    return float(accuracies["stack"] - accuracies[recipe.members[0]])


def command(*arguments: str) -> None:
    """Run the command line; its output goes to stderr, to keep it out of the table."""
    subprocess.run([sys.executable, "-m", "launch.cli", *arguments], cwd=ROOT, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
