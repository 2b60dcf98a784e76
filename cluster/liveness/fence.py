"""Ends a worker that has been replaced by another one, also where nobody can reach it.

A token file in the shared folder names who may write: the lease names the driver, a job's `attempt.json` the attempt. A
worker starts with the tokens of its driver and its attempt, and exits once a file holds another token.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPERSEDED = 77
"""Exit status of a worker that was replaced."""


@dataclass(frozen=True)
class Fence:
    """A file of the form {"token": …}, and the token that permits its holder to write."""

    path: str
    token: str

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Fence":
        """The fence from plain data: `path` and `token`."""
        return cls(str(values["path"]), str(values["token"]))

    def superseded(self) -> bool:
        """Whether the file holds another token. An unreadable file does not count: network storage has pauses."""
        try:
            return bool(json.loads(Path(self.path).read_text())["token"] != self.token)
        except (OSError, ValueError, KeyError, TypeError):
            return False


class FenceWatch:
    """A thread that looks at the current fences and ends this process at once when one of them is superseded."""

    def __init__(self) -> None:
        self._fences: Sequence[Fence] = ()
        self._changed = threading.Event()
        self._every_s = 0.0
        self._thread = threading.Thread(target=self._run, name="fence", daemon=True)

    def follow(self, fences: Sequence[Fence], *, every_s: float) -> None:
        """From now on look at `fences`, and no longer at earlier ones, every `every_s` seconds."""
        self._fences, self._every_s = tuple(fences), every_s
        if not self._thread.is_alive():
            self._thread.start()
        self._changed.set()

    def _run(self) -> None:
        while True:
            if self._changed.wait(self._every_s):
                self._changed.clear()
                continue
            for fence in self._fences:
                if fence.superseded():
                    sys.stderr.write(f"{fence.path}: another process has replaced this worker; it exits\n")
                    sys.stderr.flush()
                    os._exit(SUPERSEDED)
