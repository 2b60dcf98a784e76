"""Program: one job trained over and over, harmed by faults of its own each time, then gone on with.

    python harmed_everywhere.py CONFIG STAGE ROOT [--set KEY=VALUE ...] < plans.json

plans: a JSON list of fault plans, without the job's name. ROOT/unharmed and ROOT/0, 1, … are the run folders; what
each attempt wrote is in ROOT/0.txt, …, and the exit codes of the attempts, negative where a signal ended one, are in
ROOT/codes.json. Each attempt is a process forked from this one, which has imported TensorFlow and used nothing of
it: importing takes longer than the training.
"""

import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import horovod.tensorflow  # noqa: F401
import keras  # noqa: F401
import tensorflow  # noqa: F401

from launch.train import main
from trainer.faults import PLAN_FILE


def attempt(run: Path, arguments: list[str]) -> int:
    """Train in a process of its own; its exit code, negative where a signal ended it."""
    # A pipe and not the file itself, which a process that fills the disk could not write.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            status = main([*arguments, "--set", f"run.folder={run}"])
        except Exception:  # noqa: BLE001 - what the interpreter does with it, in a child that must not go on here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as output, run.with_suffix(".txt").open("ab") as file:
        shutil.copyfileobj(output, file)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def plan(run: Path, stage: str, faults: list[dict[str, Any]]) -> None:
    run.mkdir(parents=True)
    (run / PLAN_FILE).write_text(json.dumps([{"job": stage, **fault} for fault in faults]))


if __name__ == "__main__":
    config, stage, root = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    arguments = ["--config", config, "--stage", stage, *sys.argv[4:]]
    codes = [[attempt(root / "unharmed", arguments)]]
    for number, faults in enumerate(json.load(sys.stdin)):
        plan(root / str(number), stage, faults)
        codes.append([attempt(root / str(number), arguments) for _ in range(2)])
    (root / "codes.json").write_text(json.dumps(codes))
