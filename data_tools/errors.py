"""Errors that users see as one line, and the request to stop."""

import contextlib
import errno
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """A problem that the user can fix; the text names the file, key or host and says what to do.

    Entry points print it as one line and exit with status 2. Any other exception is a bug and keeps its traceback.
    """


class ErrorList(UserError):
    """Several problems, a line each: of hosts, of failed jobs. Entry points print the lines as they are."""


_NO_ROOM = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
_FORBIDDEN = errno.EROFS, errno.EACCES, errno.EPERM
_BROKEN = errno.EIO, errno.ESTALE
_WRONG_PLACE = {
    errno.ENOTDIR: "choose another place",
    errno.EISDIR: "name a file in it, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the link that leads to itself, or choose another place",
    errno.EBUSY: "choose another place",
    errno.ETXTBSY: "choose another place",
    errno.ENXIO: "start what reads it first, or choose another place",
    errno.EBADF: "open it for writing, or choose another place",
}


def is_of_writing(error: OSError) -> bool:
    """Whether `error` is one of a write to an open file: the file system is full, read-only or broken."""
    return error.errno in (*_NO_ROOM, *_BROKEN, errno.EROFS)


def storage_problem(error: OSError) -> UserError | None:
    """The user's line for a path that cannot be written or read; None for any other `error`, which may be a bug."""
    named = error.filename2 or error.filename
    if error.errno in _NO_ROOM:
        advice = "make room"
    elif error.errno in _FORBIDDEN:
        advice = _permission_advice(Path(os.fsdecode(named))) if isinstance(named, (str, bytes)) else "make it writable"
    elif error.errno in (*_BROKEN, errno.ENOENT) and named:
        advice = "fix it"
    elif error.errno in _WRONG_PLACE and named:
        advice = _WRONG_PLACE[error.errno]
    else:
        return None
    reason = (error.strerror or str(error)).lower()
    return UserError(
        f"{named or 'a file'}: {reason}; what is saved is untouched: {advice}, then run the same command again"
    )


def _permission_advice(path: Path) -> str:
    """What lets this user have `path`: the folder above it that is closed, its reading, or its writing."""
    for folder in reversed(path.absolute().parents):
        if os.path.lexists(folder) and not os.access(folder, os.X_OK):
            return f"let this user into {folder} or choose another place"
    if os.path.lexists(path) and not os.access(path, os.R_OK):
        return "make it readable"
    return "make it writable or choose another place"


class NumericError(UserError):
    """A loss or gradient that is not finite. The job retries once: a second failure at the same step is final."""


class Stopped(Exception):
    """A job was asked to stop; it has saved its state and resumes from there when it is started again."""


LOST_PEER = "HorovodInternalError", "Horovod has been shut down", "Connection closed by peer"
"""Parts of an exception's name or text that show that another rank is gone. The last one is Gloo's, which TensorFlow
passes on as an `UnknownError`."""


def is_lost_peer(error: BaseException) -> bool:
    """Whether `error` only reports that another rank of the world is gone, so that the cause lies with that rank."""
    if isinstance(error, UserError):
        return False
    text = f"{type(error).__name__}: {error}"
    return any(sign in text for sign in LOST_PEER)


@contextlib.contextmanager
def horovod_required() -> Iterator[None]:
    """Around an import of Horovod: where it is not installed, report in one line how to build it.

    Raises:
        UserError: Horovod is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "horovod":
            raise
        raise UserError(
            "Horovod is not installed, and pip cannot build it; run `python -m cluster.setup.horovod_wheel --install` "
            "in this environment, or `make env` in a checkout"
        ) from None


def require_horovod() -> None:
    """Look for Horovod without importing it, which takes seconds.

    Raises:
        UserError: Horovod is not installed.
    """
    with horovod_required():
        if importlib.util.find_spec("horovod") is None:
            raise ModuleNotFoundError("No module named 'horovod'", name="horovod")
