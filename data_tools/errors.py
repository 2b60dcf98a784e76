"""Errors that users see as one line, and the request to stop."""

import contextlib
import importlib.util
from collections.abc import Iterator


class UserError(Exception):
    """A problem that the user can fix; the text names the file, key or host and says what to do.

    Entry points print it as one line and exit with status 2. Any other exception is a bug and keeps its traceback.
    """


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
