"""The worker's side of `pool`: receives tasks, runs them item by item, and answers."""

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
"""Per worker, int64: number of the current item + 1 (0: none), finished items of the current task."""
STATUS_BYTES = 8 * STATUS_WORDS

_PR_SET_PDEATHSIG = 1

Handler = Callable[[Any, "Items"], Any]


class Items:
    """The calls of a handler around each item, which show the parent the item that killed the process."""

    def __init__(self, status: memoryview, timeout_s: float) -> None:
        """`status`: int64 [STATUS_WORDS] of this worker; `timeout_s`: seconds for an item."""
        self._status = status
        self._timeout_s = timeout_s
        self._poison_items: dict[int, str] = {}

    def new_task(self, poison_items: dict[int, str]) -> None:
        """Begin a task; `poison_items` maps items that killed a process before to the reason."""
        self._poison_items = poison_items
        self._status[0] = self._status[1] = 0

    def begin(self, item: int) -> str | None:
        """Announce an item; returns the reason to skip it if it is a poison item.

        SIGALRM ends the process `timeout_s` later unless `end` is called, even in a loop of a native decoder.
        """
        if item in self._poison_items:
            return self._poison_items[item]
        self._status[0] = item + 1
        signal.setitimer(signal.ITIMER_REAL, self._timeout_s)
        return None

    def end(self) -> None:
        """Finish the item, successful or not."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._status[0] = 0
        self._status[1] += 1


def limit_memory(headroom_bytes: int) -> None:
    """Limit this process to its size plus `headroom_bytes`, so that a huge page fails alone."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + headroom_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that a killed job leaves no writer."""
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
    except Exception:  # noqa: BLE001 (process boundary: the parent raises this text)
        return "bug", traceback.format_exc()


def main(arguments: list[str]) -> None:
    """Serve tasks from the channel until the parent closes it."""
    channel, status_file, slot, target, timeout_s = arguments
    die_with_parent()
    # Ctrl-C reaches the whole process group; the parent ends its workers.
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
