"""Program: one job trained over and over, killed by SIGKILL at a place of its own each time, then gone on with.

    python killed_everywhere.py CONFIG STAGE ROOT [--set KEY=VALUE ...] < places.json

places: a JSON list of faults without job and action. ROOT/unharmed and ROOT/0, 1, … are the run folders. Each attempt
is a process forked from this one, which has imported TensorFlow and used nothing of it: importing takes longer than
the training.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import horovod.tensorflow  # noqa: F401
import keras  # noqa: F401
import tensorflow  # noqa: F401

from launch.train import main
from trainer.faults import PLAN_FILE


def attempt(run: Path, arguments: list[str]) -> int:
    """Train in a process of its own; its exit code, negative where a signal ended it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = main([*arguments, "--set", f"run.folder={run}"])
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def plan(run: Path, stage: str, place: dict[str, Any]) -> None:
    run.mkdir(parents=True)
    (run / PLAN_FILE).write_text(json.dumps([{"job": stage, "action": "kill", **place}]))


if __name__ == "__main__":
    config, stage, root = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    arguments = ["--config", config, "--stage", stage, *sys.argv[4:]]
    codes = [attempt(root / "unharmed", arguments)]
    for number, place in enumerate(json.load(sys.stdin)):
        plan(root / str(number), stage, place)
        codes += [attempt(root / str(number), arguments) for _ in range(2)]
    expected = [0] + [-signal.SIGKILL, 0] * ((len(codes) - 1) // 2)
    if codes != expected:
        sys.exit(f"exit codes {codes}, expected {expected}")
