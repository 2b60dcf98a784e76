"""The prediction of `regionstack plan` against the time that the run then takes, on this machine.

    python bench/plan.py [--quick]

The recipe of the demo on drawn pages: the plan calibrates itself with a few steps, `regionstack train-all` then runs
the same recipe, and both times are printed for each job. Bar: the predicted and the measured training time differ by at
most a factor of 1.5.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_tools.files import read_lines  # noqa: E402

BAR = 1.5
PAGES = ("--train=100", "--val=20", "--test=20")
QUICK_PAGES = ("--train=24", "--val=8", "--test=8")
QUICK = ("stages.holistic_32.epochs=2", "stages.holistic_64.epochs=2", "stages.regions.epochs=1")


def main() -> int:
    """Print the table, then the figure as one line of JSON; 0 if the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pages and epochs; under a minute")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        regionstack("draw", "--out", str(folder / "demo/pages"), *(QUICK_PAGES if options.quick else PAGES), cwd=folder)
        settings = ["--config", "demo", *(part for one in (QUICK if options.quick else ()) for part in ("--set", one))]
        regionstack("convert", *settings, cwd=folder)
        plan = json.loads(regionstack("plan", *settings, "--json", cwd=folder))
        regionstack("train-all", *settings, cwd=folder)
        took = durations(folder / "demo/run/events.jsonl")
    return report(plan, took)


def regionstack(*arguments: str, cwd: Path) -> str:
    """Run the command line; its output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "launch.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=3000
    ).stdout


def durations(events: Path) -> dict[str, tuple[float, float]]:
    """Start and end of each job, unix seconds."""
    times: dict[str, dict[str, float]] = {}
    for event in read_lines(events):
        times.setdefault(event["job"], {})[event["event"]] = event["time"]
    return {job: (found["started"], found["done"]) for job, found in times.items()}


def report(plan: dict[str, Any], took: dict[str, tuple[float, float]]) -> int:
    """Print the table and the line of JSON."""
    print(f"{'job':<14} {'workers':>7} {'steps':>6} {'predicted s':>12} {'took s':>8} {'ratio':>6}")
    for job in plan["jobs"]:
        start, end = took[job["name"]]
        workers = sum(job["group"].values())
        ratio = job["seconds"] / (end - start)
        row = f"{job['name']:<14} {workers:>7} {job['steps']:>6} {job['seconds']:>12.1f}"
        print(f"{row} {end - start:>8.1f} {ratio:>6.2f}")
    measured = max(end for _, end in took.values()) - min(start for start, _ in took.values())
    figure = plan["total"]["seconds"] / measured
    print(f"{'all':<14} {'':>7} {'':>6} {plan['total']['seconds']:>12.1f} {measured:>8.1f} {figure:>6.2f}")
    holds = 1 / BAR <= figure <= BAR
    print(json.dumps({"bench": "plan", "figure": round(figure, 3), "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
