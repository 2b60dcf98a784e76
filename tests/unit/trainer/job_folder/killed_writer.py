"""Program: writes one checkpoint over and over, killed by SIGKILL at every operation in turn; prints JSON lines.

Each operation on a file system that writing a checkpoint makes (opening, syncing, renaming, deleting, and the bytes
of the weights in between) is a stage, and the process is killed before it and after it. The stages are those of the
real code: they are counted while it runs, until it runs to its end.
"""

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainer.job_folder import checkpoint
from trainer.job_folder.checkpoint import CheckpointFolder, Snapshot

OPERATIONS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"), (io, "open"),
    (checkpoint, "save_arrays"), (checkpoint, "sha256"),
)  # fmt: skip


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, {"kernel": np.full(3000, step, np.float32)}, {"rate": np.array(step)}, {"step": step})


class Killer:
    """Counts operations; kills the process at the one that is due, and notes the trace of all others."""

    def __init__(self, due: int) -> None:
        self.due, self.count = due, 0
        self.trace: list[tuple[str, str]] = []
        for module, name in OPERATIONS:
            setattr(module, name, self.wrapped(name, getattr(module, name)))

    def reached(self, what: str) -> None:
        self.count += 1
        if self.count == self.due:
            say({"killed": what})
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            where = arguments[0]
            if isinstance(where, int):
                where = Path(f"/proc/self/fd/{where}").readlink()
            what = f"{name} {Path(where).name}"
            self.reached(f"before {what}")
            if name == "save_arrays":
                # Half of the file, as the process may be caught while the system writes it.
                Path(where).touch()
                os.truncate(where, 100)
                self.reached(f"within {what}")
            result = real(*arguments, **options)
            self.trace.append((name, str(where if len(arguments) < 2 or name == "save_arrays" else arguments[1])))
            self.reached(f"after {what}")
            return result

        return operation


def write_in_child(folder: Path, due: int) -> bool:
    """Write step 4 over steps 1 to 3 in a process that is killed at operation `due`; whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        killer = Killer(due)
        CheckpointFolder(folder, keep=2).write(snapshot(4), best=1)
        say({"trace": killer.trace})
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def main(root: Path) -> None:
    before = root / "before"
    for step in (1, 2, 3):
        CheckpointFolder(before, keep=3).write(snapshot(step), best=None)
    ended, due = False, 0
    while not ended:
        due += 1
        folder = root / f"killed-{due}"
        shutil.copytree(before, folder)
        ended = write_in_child(folder, due)
        found = CheckpointFolder(folder, keep=2).newest()
        assert found is not None
        whole = bool((found.weights["kernel"] == found.step).all() and found.state == {"step": found.step})
        damaged = [path.name for path in folder.glob("damaged-*")]
        CheckpointFolder(folder, keep=2).write(snapshot(4), best=1)
        after = CheckpointFolder(folder, keep=2)
        again, names = after.newest(), sorted(path.name for path in folder.iterdir())
        assert again is not None
        shutil.rmtree(folder)
        say({"newest": found.step, "whole": whole, "damaged": damaged, "again": again.step, "names": names,
             "ended": ended})  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
