"""The bytes of a page's file, read without blocking on what is not a file."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from data_tools.documents.formats.page_error import PageError
from data_tools.labels.spelling import hint

MAX_FILE_BYTES = 2**30
"""Size limit of a page's file."""


def read_file(path: Path | str) -> bytes:
    """The bytes of a page's file.

    Raises:
        PageError: the file is missing, not regular, empty, larger than MAX_FILE_BYTES, or not readable.
    """
    with open_regular(path) as file:
        return file.readall()


@contextlib.contextmanager
def open_regular(path: Path | str) -> Iterator[io.FileIO]:
    """Open a page's file for reading, unbuffered.

    Raises:
        PageError: as `read_file`, also for errors inside the context.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe blocks until a writer comes.
        with io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PageError("not a regular file")
            if status.st_size == 0:
                raise PageError("empty file")
            if status.st_size > MAX_FILE_BYTES:
                raise PageError(f"file of {status.st_size} bytes, more than {MAX_FILE_BYTES}")
            yield file
    except FileNotFoundError:
        raise PageError(f"no such file{hint(path)}") from None
    except OSError as error:
        raise PageError(f"not readable: {error.strerror}") from None
