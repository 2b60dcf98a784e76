"""Small functions that the cluster tests run as jobs."""

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from data_tools.errors import UserError


def place(payload: dict[str, Any]) -> dict[str, Any]:
    """Where this process runs and what it was given; needs no Horovod. Stays until all expected ones met."""
    if "meet" in payload:
        meet(Path(payload["meet"]), payload["expect"])
    time.sleep(payload.get("seconds", 0.0))
    here = {"host": socket.gethostname(), "pid": os.getpid(), "environment": dict(os.environ)}
    return here | {"cores": sorted(cores_of_threads())}


def cores_of_threads() -> set[int]:
    """The cores that any thread of this process may run on."""
    cores: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            cores |= os.sched_getaffinity(int(thread.name))
    return cores


def meet(folder: Path, expect: int) -> None:
    """Return once `expect` processes are here at the same time; that they cannot be is an error."""
    (folder / str(os.getpid())).touch()
    until = time.monotonic() + 240
    while len(list(folder.iterdir())) < expect:
        if time.monotonic() > until:
            raise TimeoutError(f"of {expect} processes only {len(list(folder.iterdir()))} came")
        time.sleep(0.05)


def world(payload: dict[str, Any]) -> dict[str, Any]:
    """Join the world, add up the ranks, stay together until all worlds met."""
    import horovod.tensorflow as hvd
    import numpy as np

    hvd.init()
    total = int(hvd.allreduce(np.array([hvd.rank() + 1], np.int64), op=hvd.Sum, name="ranks")[0])
    here = place(payload)
    hvd.allreduce(np.array([0.0]), name="end")
    return here | {"size": hvd.size(), "sum": total}


def fails(payload: dict[str, Any]) -> None:
    """Fail on rank `rank` as `how` says, after `seconds`; the other ranks wait for it."""
    sys.stderr.write(f"rank {os.environ['HOROVOD_RANK']} was here\n")
    if os.environ["HOROVOD_RANK"] != str(payload["rank"]):
        time.sleep(600)
    time.sleep(payload.get("seconds", 0.0))
    match payload["how"]:
        case "user":
            raise UserError("labels/train.txt:3: not a page and a class")
        case "raise":
            raise ValueError("step 7 is bad")
        case "exit":
            raise SystemExit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)


def killed_once(payload: dict[str, Any]) -> str:
    """A world in which rank `rank` dies in the first attempt, in the middle of its steps."""
    import horovod.tensorflow as hvd
    import numpy as np

    hvd.init()
    mark = Path(payload["mark"])
    for step in range(20):
        if step == 10 and hvd.rank() == payload["rank"] and not mark.exists():
            mark.write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        hvd.allreduce(np.array([1.0]), name=f"step{step}")
    return "finished"


def long_at_first(payload: dict[str, Any]) -> str:
    """Stay for long in the first attempt, and return at once in the next."""
    mark = Path(payload["mark"] + os.environ["HOROVOD_RANK"])
    if mark.exists():
        return "finished"
    mark.touch()
    time.sleep(600)
    return "too late"
