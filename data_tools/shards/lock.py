"""The lock that prevents two conversions or copies from writing to one shard folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from data_tools.errors import UserError
from data_tools.files import UNFINISHED


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the shard folder against other conversions and copies.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another conversion is writing there; wait for it or stop it") from None
        # Left by a killed conversion; no other process writes here.
        for leftover in folder.glob(f"{UNFINISHED}*"):
            if leftover.is_file():
                leftover.unlink()
        yield
