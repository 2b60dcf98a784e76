"""The bytes of a page's file, read without blocking on what is not a file."""

import os
import stat
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
    try:
        # Without O_NONBLOCK, opening a named pipe blocks until a writer comes.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PageError("not a regular file")
            if status.st_size == 0:
                raise PageError("empty file")
            if status.st_size > MAX_FILE_BYTES:
                raise PageError(f"file of {status.st_size} bytes, more than {MAX_FILE_BYTES}")
            return file.readall()
    except FileNotFoundError:
        raise PageError(f"no such file{hint(path)}") from None
    except OSError as error:
        raise PageError(f"not readable: {error.strerror}") from None
