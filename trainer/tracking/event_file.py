"""The event file of one attempt of a job: the points of earlier attempts that still hold, then its own.

A job that resumes from step s has lost what came after s. Its new file begins with the earlier points up to s, and the
earlier files are deleted, so that no reader ever finds a point twice, or one of a step that was not taken.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from data_tools.files import UNFINISHED
from trainer.tracking.event import file_start, points_of

logger = logging.getLogger(__name__)

PREFIX = "events.out.tfevents."
"""TensorBoard reads each file with `tfevents` in its name, in the order of the names."""
MOST_UNWRITTEN = 2**24
"""Bytes of points that are kept in memory while the disk is full; later ones are dropped."""


class EventFile:
    """Appends framed events to this attempt's file in `folder`; a disk that is full is reported once and tolerated.

    keep: whether a point of an earlier attempt (its step, its first tag) still holds.
    """

    def __init__(self, folder: Path, *, keep: Callable[[int, str], bool]) -> None:
        self._folder, self._keep = folder, keep
        self._path: Path | None = None
        self._size = 0
        self._unwritten = b""
        self._failing = False

    def begin(self) -> None:
        """Create the file, so that points which no longer hold disappear now and not with the first new one."""
        self.add(b"")

    def add(self, event: bytes) -> None:
        """Write one framed event, after those that could not be written before."""
        if len(self._unwritten) + len(event) <= MOST_UNWRITTEN:
            self._unwritten += event
        try:
            self._path = self._path or self._create()
            self._append(self._path)
        except OSError as error:
            if not self._failing:
                logger.warning(
                    "%s: events for TensorBoard cannot be written (%s); training continues without them",
                    self._path or self._folder, error.strerror or error,
                )  # fmt: skip
            self._failing = True
        else:
            self._failing = False

    def _append(self, path: Path) -> None:
        with path.open("r+b", buffering=0) as file:
            try:
                file.seek(self._size)
                _write_all(file.fileno(), self._unwritten)
            except OSError:
                # A part of a record would hide all that follow it.
                with contextlib.suppress(OSError):
                    file.truncate(self._size)
                raise
        self._size, self._unwritten = self._size + len(self._unwritten), b""

    def _create(self) -> Path:
        """Create the file with the earlier points that still hold, and delete the earlier files; its path."""
        earlier = event_files(self._folder)
        now = max([int(time.time()), *(_second(path) + 1 for path in earlier)])
        path = self._folder / f"{PREFIX}{now:010d}.{socket.gethostname()}"
        # Not the usual temporary name, which contains that of the file.
        temporary = self._folder / f"{UNFINISHED}points"
        content = file_start(time.time()) + self._kept(earlier)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        for old in earlier:
            old.unlink(missing_ok=True)
        self._size = len(content)
        return path

    def _kept(self, files: list[Path]) -> bytes:
        """The points that still hold, by step and tag, the last of equals; two files may hold the same after a kill."""
        kept: dict[tuple[int, str], bytes] = {}
        for path in files:
            points = points_of(path.read_bytes())
            kept |= {(step, tag): record for step, tag, record in points if self._keep(step, tag)}
        return b"".join(kept.values())


def event_files(folder: Path) -> list[Path]:
    """The event files of a job's folder in the order of their names."""
    return sorted(folder.glob(f"{PREFIX}*"))


def _second(path: Path) -> int:
    """The number in a file's name, unix seconds; 0 in a name of another kind."""
    number = path.name.removeprefix(PREFIX).partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() else 0


def _write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`; a disk that fills up takes a part of it first."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
