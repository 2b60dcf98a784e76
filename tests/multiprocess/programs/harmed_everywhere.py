"""Program: jobs that faults interrupt in attempt after attempt, each resumed until it is done.

    python harmed_everywhere.py CONFIG STAGE ROOT [--set KEY=VALUE ...] < plans.json

plans: JSON, {run: [faults of attempt 1, faults of attempt 2, ...]}, faults without job and attempt; one more attempt,
without faults, ends each run. ROOT/unharmed and ROOT/RUN are the run folders. ROOT/RUN.N.txt is the output of attempt
N; ROOT/codes.json holds the exit codes of each run's attempts, negative where a signal ended one. Each attempt is a
process forked from this one, which has imported TensorFlow and used nothing of it: importing takes longer than the
training.
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
from tests.helpers.faults import PLAN_FILE


def attempt(run: Path, arguments: list[str], output: Path) -> int:
    """Train in a forked process; its exit code, negative where a signal ended it."""
    # A pipe and not the file itself, which a process that fills the disk could not write.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            status = main([*arguments, "--set", f"run.folder={run}"])
        except Exception:  # noqa: BLE001 - a forked child must not return into the caller
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, output.open("wb") as file:
        shutil.copyfileobj(pipe, file)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def plan(run: Path, stage: str, attempts: list[list[dict[str, Any]]]) -> None:
    run.mkdir(parents=True)
    numbered = [(number, fault) for number, faults in enumerate(attempts, start=1) for fault in faults]
    (run / PLAN_FILE).write_text(json.dumps([{"job": stage, "attempt": n, **fault} for n, fault in numbered]))


if __name__ == "__main__":
    config, stage, root = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    arguments = ["--config", config, "--stage", stage, *sys.argv[4:]]
    plans = {"unharmed": [], **json.load(sys.stdin)}
    codes = {}
    for name, attempts in plans.items():
        plan(root / name, stage, attempts)
        numbers = range(1, len(attempts) + 2)
        codes[name] = [attempt(root / name, arguments, root / f"{name}.{number}.txt") for number in numbers]
    (root / "codes.json").write_text(json.dumps(codes))
