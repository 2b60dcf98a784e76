"""The child's side of `pool`: take a task, run it item by item, answer; die alone when an item kills."""

import contextlib
import ctypes
import importlib
import mmap
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from data_tools.errors import UserError

STATUS_WORDS = 2
"""Per worker, int64: number of the item at work + 1 (0: none), items finished of the task at hand."""
STATUS_BYTES = 8 * STATUS_WORDS

_PR_SET_PDEATHSIG = 1

Handler = Callable[[Any, "Items"], Any]


class Items:
    """What a handler calls around each item, so that the parent knows which one killed the process."""

    def __init__(self, status: memoryview, timeout_s: float) -> None:
        """`status`: this worker's STATUS_WORDS."""
        self._status = status
        self._timeout_s = timeout_s
        self._poison_items: dict[int, str] = {}

    def new_task(self, poison_items: dict[int, str]) -> None:
        """Begin a task in which the items `poison_items` are known to kill the process."""
        self._poison_items = poison_items
        self._status[0] = self._status[1] = 0

    def begin(self, item: int) -> str | None:
        """Announce an item; returns why it must be left out where it is known to kill the process.

        From here to `end`, the process has `timeout_s` to live: SIGALRM ends it even inside a decoder's loop.
        """
        if item in self._poison_items:
            return self._poison_items[item]
        self._status[0] = item + 1
        signal.setitimer(signal.ITIMER_REAL, self._timeout_s)
        return None

    def end(self) -> None:
        """The item is finished, well or not."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._status[0] = 0
        self._status[1] += 1


def limit_memory(headroom_bytes: int) -> None:
    """Let this process grow by `headroom_bytes` at most: a page that wants more fails, not the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + headroom_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def die_with_parent() -> None:
    """Have the kernel end this process when its parent dies, so that a killed job leaves no writer behind."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _answer(handler: Handler, task: Any, items: Items) -> tuple[str, Any]:
    try:
        return "done", handler(task, items)
    except UserError as error:
        return "user_error", str(error)
    except OSError as error:
        return "os_error", (error.errno, error.strerror, error.filename)
    except Exception:  # noqa: BLE001 (the process boundary: the parent raises this text)
        return "bug", traceback.format_exc()


def main(arguments: list[str]) -> None:
    """Serve tasks from the channel until the parent closes it."""
    channel, status_file, slot, target, timeout_s = arguments
    die_with_parent()
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(channel))
    status = memoryview(mmap.mmap(int(status_file), 0)).cast("q")
    first = int(slot) * STATUS_WORDS
    items = Items(status[first : first + STATUS_WORDS], float(timeout_s))
    module, _, function = target.partition(":")
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        handler: Handler = getattr(importlib.import_module(module), function)(connection.recv())
        connection.send(("ready", None))
        while True:
            task, poison_items = connection.recv()
            items.new_task(poison_items)
            connection.send(_answer(handler, task, items))


if __name__ == "__main__":
    main(sys.argv[1:])
