"""Small functions that the tests of the cluster run as jobs."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_tools.errors import Stopped, UserError
from data_tools.stop import StopRequest
from tests.helpers.waiting import wait_until


def place(payload: dict[str, Any]) -> dict[str, Any]:
    """Report where this process runs and what it was given; needs no Horovod.

    meet, expect: stay until so many processes have met in that folder. until: stay until that file exists.
    """
    if "meet" in payload:
        meet(Path(payload["meet"]), payload["expect"])
    if "until" in payload:
        wait_until(Path(payload["until"]).exists, payload["until"])
    here = {"host": socket.gethostname(), "pid": os.getpid(), "environment": dict(os.environ)}
    return here | {"cores": sorted(cores_of_threads())}


def touches(payload: dict[str, Any]) -> None:
    """Create the file `path`."""
    Path(payload["path"]).touch()


def cores_of_threads() -> set[int]:
    """The cores that any thread of this process may run on."""
    cores: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            cores |= os.sched_getaffinity(int(thread.name))
    return cores


def meet(folder: Path, expect: int) -> None:
    """Return once `expect` processes are here at the same time."""
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) >= expect, f"{expect} processes to meet")


def world(payload: dict[str, Any]) -> dict[str, Any]:
    """Join the world, sum the ranks, stay until all worlds have met."""
    import horovod.tensorflow as hvd
    import numpy as np

    hvd.init()
    total = int(hvd.allreduce(np.array([hvd.rank() + 1], np.int64), op=hvd.Sum, name="ranks")[0])
    here = place(payload)
    hvd.allreduce(np.array([0.0]), name="end")
    return here | {"size": hvd.size(), "sum": total}


def fails(payload: dict[str, Any]) -> None:
    """Fail on rank `rank` as `how` says; the other ranks hang."""
    sys.stderr.write(f"rank {os.environ['HOROVOD_RANK']} was here\n")
    if os.environ["HOROVOD_RANK"] != str(payload["rank"]):
        hang()
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
    """A world in which rank `rank` dies in the middle of its steps, in the first attempt only."""
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


def hangs_at_first(payload: dict[str, Any]) -> str:
    """Hang in the first attempt, return at once in the next."""
    mark = Path(payload["mark"] + os.environ["HOROVOD_RANK"])
    if not mark.exists():
        mark.touch()
        hang()
    return "finished"


def hang() -> None:
    threading.Event().wait()


def squares(setup: Mapping[str, Any]) -> Callable[[int, int | None], int]:
    """A function for `actor_pool`. At `dies_at` its process dies once; at `refuses` it raises a user's mistake."""

    def square(number: int, upcoming: int | None) -> int:
        if number == setup.get("dies_at") and not Path(setup["mark"]).exists():
            Path(setup["mark"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == setup.get("refuses"):
            raise UserError(f"{number}: no such square")
        return number * number

    return square


def saves_on_request(payload: dict[str, Any]) -> dict[str, Any]:
    """In the first attempt, wait for a stop request, then save; the next one reports how many ranks saved."""
    folder, rank = Path(payload["folder"]), os.environ["HOROVOD_RANK"]
    if not (folder / f"started-{rank}").exists():
        with StopRequest() as request:
            (folder / f"started-{rank}").touch()
            wait_until(request.received, "a stop request", limit_s=100)
            (folder / f"saved-{rank}").touch()
            raise Stopped("stopped, saved")
    return {"saved_by_the_first": len(list(folder.glob("saved-*")))}


def starts_slowly(payload: dict[str, Any]) -> None:
    """Read nothing of stop requests until the file `until` exists; then save and end if there was one."""
    (Path(payload["folder"]) / f"here-{os.environ['HOROVOD_RANK']}").touch()
    wait_until(Path(payload["until"]).exists, payload["until"])
    with StopRequest() as request:
        if request.received():
            raise Stopped("stopped, saved")
