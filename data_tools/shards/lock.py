"""The lock that prevents two conversions or copies from writing to one shard folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from data_tools.errors import UserError, storage_problem
from data_tools.files import UNFINISHED, require_writable
from data_tools.targets import make_folder


@contextlib.contextmanager
def locked(folder: Path, *, writer: str = "conversion") -> Iterator[None]:
    """Lock the shard folder against other conversions and copies.

    writer: what the error calls the process that holds the lock.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written.
    """
    try:
        make_folder(folder)
        require_writable(folder, folder=True)
        file = _lock_file(folder / ".lock")
    except OSError as error:
        raise storage_problem(error) or error from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another {writer} is writing there; wait for it or stop it") from None
        # Left by a killed conversion; no other process writes here.
        for leftover in folder.glob(f"{UNFINISHED}*"):
            if leftover.is_file():
                leftover.unlink()
        yield


def _lock_file(path: Path) -> IO[str]:
    try:
        return path.open("a")
    except PermissionError:
        # Another user of a shared folder made it; locking needs no right to write.
        return path.open()
