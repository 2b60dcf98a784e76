"""Program: writes one checkpoint repeatedly, killed by SIGKILL at each operation in turn; prints JSON lines.

The process is killed before and after each file system operation of the real code: open, sync, rename, delete, and
in the middle of the weights' bytes. The operations are counted while it runs, until one run completes.
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


def print_line(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, {"kernel": np.full(3000, step, np.float32)}, {"rate": np.array(step)}, {"step": step})


class Killer:
    """Counts operations, kills the process at number `due` and records the others in `trace`."""

    def __init__(self, due: int) -> None:
        self.due, self.count = due, 0
        self.trace: list[tuple[str, str]] = []
        for module, name in OPERATIONS:
            setattr(module, name, self.wrapped(name, getattr(module, name)))

    def reached(self, what: str) -> None:
        self.count += 1
        if self.count == self.due:
            print_line({"killed": what})
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            where = arguments[0]
            if isinstance(where, int):
                where = Path(f"/proc/self/fd/{where}").readlink()
            what = f"{name} {Path(where).name}"
            self.reached(f"before {what}")
            if name == "save_arrays":
                # A part of the file, as after a kill during the write.
                Path(where).touch()
                os.truncate(where, 100)
                self.reached(f"within {what}")
            result = real(*arguments, **options)
            self.trace.append((name, str(where if len(arguments) < 2 or name == "save_arrays" else arguments[1])))
            self.reached(f"after {what}")
            return result

        return operation


def write_in_child(folder: Path, due: int) -> bool:
    """Write step 4 over steps 1 to 3 in a process that is killed at operation `due`; returns whether it completed."""
    pid = os.fork()
    if pid == 0:
        killer = Killer(due)
        CheckpointFolder(folder, keep=2).write(snapshot(4), best=1)
        print_line({"trace": killer.trace})
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
        intact = bool((found.weights["kernel"] == found.step).all() and found.state == {"step": found.step})
        damaged = [path.name for path in folder.glob("damaged-*")]
        CheckpointFolder(folder, keep=2).write(snapshot(4), best=1)
        after = CheckpointFolder(folder, keep=2)
        again, names = after.newest(), sorted(path.name for path in folder.iterdir())
        assert again is not None
        shutil.rmtree(folder)
        print_line({"newest": found.step, "intact": intact, "damaged": damaged, "again": again.step, "names": names,
             "ended": ended})  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
