"""How a worker that was given up, and cannot be reached, learns that another one has its place.

A token file on the folder that all share names who may write: the lease names the driver, a job's `attempt.json` the
attempt. A worker is started with the tokens of its driver and its attempt, and leaves where a file holds another one.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GUARD_S = 2.0
"""How often a worker looks."""
REPLACED = 77
"""Exit status of a worker that was replaced."""


@dataclass(frozen=True)
class Fence:
    """A file of the shape {"token": …}, and the token with which one is inside."""

    path: str
    token: str

    @classmethod
    def of(cls, order: Mapping[str, Any]) -> "Fence":
        """The fence from plain data."""
        return cls(str(order["path"]), str(order["token"]))

    def broken(self) -> bool:
        """Whether the file now holds another token. A file that cannot be read says nothing: storage has pauses."""
        try:
            return bool(json.loads(Path(self.path).read_text())["token"] != self.token)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def keep_inside(fences: list[Fence]) -> None:
    """Look after `fences` from a thread; end this process at once when one of them is broken."""

    def watch() -> None:
        pause = threading.Event()
        while not pause.wait(GUARD_S):
            for fence in fences:
                if fence.broken():
                    sys.stderr.write(f"{fence.path}: another one has this place now; this worker leaves\n")
                    sys.stderr.flush()
                    os._exit(REPLACED)

    if fences:
        threading.Thread(target=watch, name="fence", daemon=True).start()
