"""Files that have a second name by a symbolic link."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_tools.labels.label import LabelWarning
from data_tools.labels.page_id import document_of
from data_tools.plain_text import printable

_CHUNK = 2048
_THREADS = 8
"""Lookups at once: on network storage each takes a fraction of a millisecond."""

FileId = tuple[int, int]
"""Device and inode, which are the same for all names of a file."""


def file_ids(root: str, documents: Sequence[str]) -> dict[str, FileId | None]:
    """The file of each of the `documents`, paths relative to `root`: the one that links lead to, or None.

    A link to nothing is a file of its own.
    """
    prefix = root.rstrip("/") + "/"

    def look(chunk: Sequence[str]) -> list[FileId | None]:
        return [_file_id(prefix + document) for document in chunk]

    chunks = [documents[start : start + _CHUNK] for start in range(0, len(documents), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as threads:
        found = [one for some in threads.map(look, chunks) for one in some]
    return dict(zip(documents, found, strict=True))


def _file_id(path: str) -> FileId | None:
    # A Path for each file would take three times as long.
    for status_of in (os.stat, os.lstat):
        try:
            status = status_of(path)
        except OSError:
            continue
        return status.st_dev, status.st_ino
    return None


def other_names(root: str, files: Mapping[str, FileId | None]) -> dict[str, str]:
    """The documents to replace, each by the one that is kept of those with the same file by symbolic links.

    The one without a link in its path is kept, or else the first in sorted order. Hard links stay as they are, like
    copies.
    """
    first: dict[FileId, str] = {}
    shared: dict[FileId, list[str]] = {}
    for document, file in files.items():
        if file is not None and first.setdefault(file, document) != document:
            shared.setdefault(file, [first[file]]).append(document)
    if not shared:
        return {}
    inside = os.path.realpath(root).rstrip("/") + "/"
    by_path: dict[str, list[str]] = {}
    for document in sorted(document for same in shared.values() for document in same):
        by_path.setdefault(os.path.realpath(f"{root}/{document}"), []).append(document)
    replaced: dict[str, str] = {}
    for path, same in by_path.items():
        kept = next((document for document in same if inside + document == path), same[0])
        replaced |= {document: kept for document in same if document != kept}
    return replaced


def links_among(root: str, page_ids: Iterable[str], files: Mapping[str, FileId | None]) -> dict[str, str]:
    """The page ids to replace, as the documents of `other_names`; files: those of the documents."""
    names = other_names(root, files)
    if not names:
        return {}
    return {
        page_id: names[document] + page_id[len(document) :]
        for page_id in page_ids
        if (document := document_of(page_id)) in names
    }


def link_warnings(split: str, source: Path, page_ids: Iterable[str], links: Mapping[str, str]) -> list[LabelWarning]:
    """One warning about the pages of a split that are in `links`, or none."""
    found = [page_id for page_id in page_ids if page_id in links]
    if not found:
        return []
    detail = (
        f"{source}: {len(found)} {'page is' if len(found) == 1 else 'pages are'} named a second time through a link, "
        f"and read as one page (first: {found[0]} is {links[found[0]]})"
    )
    return [LabelWarning("linked", split, None, printable(detail), len(found))]
