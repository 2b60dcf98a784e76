"""What an output path leads to: a file to replace, or a descriptor, FIFO or device to write to."""

import errno
import fcntl
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAX_LINKS = 40
"""Links that Linux follows in one path before it reports a loop."""
_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|thread-self|(?P<pid>\d+)(?:/task/\d+)?))/fd/(?P<number>\d+)")


@dataclass(frozen=True)
class Target:
    """Where the bytes for an output path go.

    path: the path after all links. descriptor: number of this process' open descriptor that the path names.
    stream: a FIFO, a device or another process' descriptor, which is written to and never replaced.
    """

    path: Path
    descriptor: int | None = None
    stream: bool = False

    @property
    def replaceable(self) -> bool:
        """Whether the path is a regular file, or none yet, which a new file may replace atomically."""
        return self.descriptor is None and not self.stream


def target_of(path: Path) -> Target:
    """Follow the links of `path`, also a dangling one, up to what is to be written.

    Raises:
        OSError: a loop of links, a folder of the path that cannot be entered, or a descriptor that is not open for
            writing; `filename` is `path`.
    """
    found = Path(path)
    for _ in range(_MAX_LINKS):
        # The last name stays: the link /proc/self/fd/1 reads as the file's name, and must not be followed to it.
        found = Path(os.path.realpath(found.parent), found.name) if found.name not in ("", "..") else found
        if named := _DESCRIPTOR.fullmatch(str(found)):
            return _descriptor(path, found, named)
        if not found.is_symlink():
            return Target(found, stream=_is_stream(found))
        found = found.parent / found.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether `path` names this process' open `descriptor`, as /dev/stdout names 1."""
    try:
        return target_of(path).descriptor == descriptor
    except OSError:
        return False


def open_stream(target: Target) -> BinaryIO:
    """Open what is written to and not replaced.

    Raises:
        OSError: it cannot be opened.
    """
    if target.descriptor is not None:
        # A duplicate shares the offset, so that the output follows what the descriptor has received before.
        return os.fdopen(os.dup(target.descriptor), "wb")
    return os.fdopen(os.open(target.path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC), "wb")


def make_folder(path: Path) -> None:
    """Make a folder and those above it; it may exist.

    Raises:
        NotADirectoryError: `filename`, a file, is in the way, or no folder can be made in it (as in /proc).
        OSError: it cannot be made for another reason.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError):
        there = next(found for found in (path, *path.parents) if os.path.lexists(found))
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there)) from None


def _descriptor(path: Path, found: Path, named: re.Match[str]) -> Target:
    if named["pid"] not in (None, str(os.getpid())):
        return Target(found, stream=True)
    number = int(named["number"])
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
    except OSError:
        raise OSError(errno.EBADF, "not an open file descriptor", str(path)) from None
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "not open for writing", str(path))
    return Target(found, descriptor=number)


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        # Absent, or not to be looked at: creating it reports the reason.
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
