"""What the files of `predict` must not replace: one another, a page or a list of pages, a file of the run."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from data_tools.documents.formats.headers import PDF_SEARCHED, image_format
from data_tools.errors import UserError
from data_tools.targets import target_of
from launch.predict.sources import Sources

Identity = tuple[int, int]
"""Device and inode: the same for all names of a file."""


def check_outputs(outputs: Mapping[str, Path], sources: Sources, run: Path, *, resume: bool) -> None:
    """Check the outputs (by kind) before the first is written. resume: files that exist are continued.

    Raises:
        UserError: an output is another one as well, a page, a source or a list of sources, or a file in the run folder
            `run`.
    """
    kinds: dict[Path, str] = {}
    existing: dict[Identity, Path] = {}
    for kind, path in outputs.items():
        target = target_of(path)
        if not target.replaceable:
            continue
        other = kinds.setdefault(target.path, kind)
        if other != kind:
            raise UserError(f"{path}: is the file of --{other} and of --{kind}; name another one")
        identity = _identity(target.path)
        if identity is None:
            continue
        existing[identity] = path
        if kept := _kept(target.path, run, resume=resume):
            raise UserError(f"{path}: {kept}")
    if existing:
        _refuse_sources(existing, sources)


def _kept(path: Path, run: Path, *, resume: bool) -> str | None:
    """Why a file that exists is not to be replaced, and what to do; None: it may be."""
    content = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        content = file.read(PDF_SEARCHED)
    if form := image_format(content):
        # `--csv *.png`: the shell's first match is taken for the file to write.
        return f"is a page ({form}), and would be replaced; name another file (is the FILE after the option missing?)"
    if not resume and run.resolve() in path.parents:
        return "is in the run folder, whose files predict does not replace; name another file, or remove it"
    return None


def _refuse_sources(outputs: Mapping[Identity, Path], sources: Sources) -> None:
    for name in (*sources.lists, *(source.path for source in sources.files if source.error is None)):
        output = outputs.get(_identity(name) or (-1, -1))
        if output is not None:
            also = "" if name == str(output) else f" ({name})"
            raise UserError(f"{output}: is also a source{also}, and would be replaced; name another file")


def _identity(path: Path | str) -> Identity | None:
    """None for a file that does not exist or cannot be looked at; its row will give the reason."""
    try:
        found = os.stat(path)  # noqa: PTH116 (the path as given: a million of them need no Path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
