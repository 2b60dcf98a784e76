"""What `predict` was asked to classify, as a list of files: paths, folders, globs, lists, standard input."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from data_tools.errors import UserError
from data_tools.labels.label import PAGE_SUFFIXES

STDIN = "-"
LIST = "@"

GROUP = 64
"""Files that are classified together; a PDF is a group of its own."""


@dataclass(frozen=True)
class Source:
    """One file to classify, or the reason why there is none (an empty folder, a glob without a match)."""

    path: str
    error: str | None = None


@dataclass
class Sources:
    """The files in the order of the arguments. skipped: files in folders that are no pages, by their suffix.

    lists: the files that were read as lists of paths.
    """

    files: list[Source] = field(default_factory=list)
    skipped: int = 0
    lists: list[str] = field(default_factory=list)


def find_sources(arguments: Iterable[str], *, stdin: BinaryIO | None = None) -> Sources:
    """Expand what was given; every argument, and every line of a list, gives at least one source.

    A path that exists is taken literally; otherwise one with `*`, `?` or `[` is a glob, whose matches are sorted.
    Folders are searched recursively, and their pages sorted by path. `@FILE` is a list of such paths, one a line, and
    `-` is a list on standard input.

    Raises:
        UserError: a list cannot be read, or nothing was given.
    """
    found = Sources()
    for argument in arguments:
        for path in _lines(argument, stdin, found.lists):
            _expand(path, found)
    if not found.files:
        raise UserError(f"{', '.join(found.lists) or 'no source'}: no page: the list of paths is empty")
    return found


def _lines(argument: str, stdin: BinaryIO | None, lists: list[str]) -> Iterator[str]:
    """The paths of a list, one a line; of anything else the argument itself. lists: gets the name of a list."""
    if argument == STDIN:
        lists.append("/dev/stdin")
        yield from _paths((stdin or sys.stdin.buffer).read())
    elif argument.startswith(LIST) and len(argument) > 1 and not os.path.lexists(argument):
        path = Path(argument[1:])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: the list of pages cannot be read ({error.strerror})") from None
        lists.append(str(path))
        yield from _paths(content)
    else:
        yield argument


def _paths(content: bytes) -> Iterator[str]:
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    yield from (os.fsdecode(line.removesuffix(b"\r")) for line in lines if line.strip())


def _expand(path: str, found: Sources) -> None:
    if "\0" in path:
        found.files.append(Source(path, "not a path: it contains a zero byte"))
    elif os.path.isdir(path):  # noqa: PTH112 (False for a name that is too long, where Path raises)
        _add_folder(path, found)
    elif not os.path.lexists(path) and glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        for match in matches:
            if Path(match).is_dir():
                _add_folder(match, found)
            else:
                found.files.append(Source(match))
        if not matches:
            found.files.append(Source(path, "no file matches"))
    else:
        found.files.append(Source(path))


def _add_folder(folder: str, found: Sources) -> None:
    """Add the pages of a folder and its sub-folders in the order of their paths; hidden ones are left out."""
    pages: list[Source] = []
    before = found.skipped
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        pages.append(Source(str(error.filename), f"the folder cannot be read: {error.strerror}"))

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            # A link that leads back into a folder that was searched already.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if Path(name).suffix.lower() in PAGE_SUFFIXES and not name.startswith("."):
                pages.append(Source(os.path.join(place, name)))  # noqa: PTH118 (keeps `./` of the argument)
            else:
                found.skipped += 1
    if not pages:
        others = found.skipped - before
        pages.append(Source(folder, f"no pages in this folder, {others} other files" if others else "empty folder"))
    found.files += sorted(pages, key=lambda page: Path(page.path).parts)


def groups_of(files: Sequence[Source]) -> list[Sequence[Source]]:
    """Split the files, in order, into groups to classify together; they depend on the files alone.

    A batch of the models never spans two groups, so a group's outputs are the same wherever it is classified, and an
    interrupted `predict` resumes at a group.
    """
    groups: list[Sequence[Source]] = []
    current: list[Source] = []
    for file in files:
        alone = Path(file.path).suffix.lower() == ".pdf"
        if current and (alone or len(current) == GROUP):
            groups.append(current)
            current = []
        current.append(file)
        if alone:
            groups.append(current)
            current = []
    return [*groups, current] if current else groups
