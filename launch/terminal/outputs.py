"""The output files that a command was given: checked before the work, and `-` for standard output."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from data_tools.errors import UserError
from data_tools.files import require_writable
from data_tools.targets import leads_to, target_of

STANDARD_OUTPUT = "-"


@contextlib.contextmanager
def output_files(*names: str | None) -> Iterator[tuple[Path | None, ...]]:
    """Check that the named files can be written, and yield their paths; None stays None.

    `-`, /dev/stdout or any other name of standard output becomes a path that leads there, and everything else that
    this process prints goes to standard error while the block runs: standard output holds the file alone.

    Raises:
        UserError: two of the files are standard output.
        OSError: a file cannot be written.
    """
    on_stdout = [name for name in names if name is not None and is_stdout(name)]
    if len(on_stdout) > 1:
        raise UserError(f"{' and '.join(on_stdout)}: standard output can hold one file; name another one")
    for name in names:
        if name is not None and name not in on_stdout:
            require_writable(Path(name))
    with _stdout_alone() if on_stdout else contextlib.nullcontext() as stdout:
        yield tuple(stdout if name in on_stdout else None if name is None else Path(name) for name in names)


def output_folder(name: str) -> Path:
    """The folder that a command was given for its files, which may have to be made.

    Raises:
        UserError: standard output, which holds no folder.
        OSError: no file can be written in it.
    """
    folder = new_folder(name)
    require_writable(folder, folder=True)
    return folder


def new_folder(name: str) -> Path:
    """The folder that a command is to make, where it may exist already only if the command says so.

    Raises:
        UserError: standard output, which holds no folder.
        OSError: no folder can be made there.
    """
    if is_stdout(name):
        raise UserError(f"{name}: standard output cannot hold a folder; name a folder")
    folder = target_of(Path(name)).path  # What a link leads to: the link stays.
    if not folder.exists():
        require_writable(folder)
    return folder


def is_file_name(name: str) -> bool:
    """Whether an output, a folder or a page alone, names a page: `-`, FILE.html, or what exists and is no folder."""
    path = Path(name)
    return is_stdout(name) or (not path.is_dir() and (path.exists() or path.suffix in (".html", ".htm")))


def is_stdout(name: str) -> bool:
    """Whether an output's name stands for standard output."""
    return name == STANDARD_OUTPUT or leads_to(Path(name), 1)


@contextlib.contextmanager
def _stdout_alone() -> Iterator[Path]:
    """Yield a path that leads to standard output, and let descriptor 1, of every library, lead to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        # Where Python's stdout is not descriptor 1 (a test, a notebook), it is led away as well.
        with contextlib.redirect_stdout(sys.stderr):
            yield Path(f"/dev/fd/{kept}")
    finally:
        sys.stderr.flush()
        os.dup2(kept, 1)
        os.close(kept)
