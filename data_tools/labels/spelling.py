"""Files that a path names in another spelling: upper and lower case, Unicode normalization, suffix."""

import functools
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from data_tools.labels.links import FileId, file_ids
from data_tools.labels.page_id import document_of
from data_tools.plain_text import printable

_SUFFIXES = ({".tif", ".tiff"}, {".jpg", ".jpeg", ".jpe", ".jfif"})
"""Suffixes of one format."""
_MOST = 8
"""Spellings that are looked for."""

Key = Callable[[str], str]


def spelled_as_on_disk(
    root: str, page_ids: Sequence[str], files: Mapping[str, FileId | None] | None = None
) -> dict[str, str]:
    """The page ids to replace, by page id as written: those whose file exists in exactly one other spelling.

    Of ids without any file, those that differ in Unicode normalization alone are replaced by their composed form.
    files: those of the documents; None to look for them.
    """
    _listing.cache_clear()
    if files is None:
        files = file_ids(root, list(dict.fromkeys(map(document_of, page_ids))))
    gone = {document for document, file in files.items() if file is None}
    missing = [page_id for page_id in page_ids if document_of(page_id) in gone] if gone else []
    found: dict[str, str] = {}
    forms: defaultdict[str, list[str]] = defaultdict(list)
    for page_id in missing:
        document = document_of(page_id)
        others = others_of(root, document, key=same_letters)
        if len(others) == 1:
            found[page_id] = others[0] + page_id[len(document) :]
        else:
            forms[unicodedata.normalize("NFC", page_id)].append(page_id)
    for plain, spellings in forms.items():
        if len(spellings) > 1:
            found |= {page_id: plain for page_id in spellings if page_id != plain}
    return found


def composed(names: Collection[str]) -> dict[str, str]:
    """By name, the name itself, or the composed form of names that differ in Unicode normalization alone."""
    forms = Counter(unicodedata.normalize("NFC", name) for name in names)
    return {name: form if forms[form := unicodedata.normalize("NFC", name)] > 1 else name for name in names}


def same_letters(name: str) -> str:
    """A key that is equal for names that differ in case or Unicode normalization alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def same_stem(name: str) -> str:
    """A key as `same_letters`, and equal for the suffixes of one image format."""
    plain = same_letters(name)
    stem, dot, suffix = plain.rpartition(".")
    family = next((group for group in _SUFFIXES if f".{suffix}" in group), None)
    return f"{stem}{dot}{min(family)[1:]}" if stem and family else plain


def others_of(root: Path | str, path: str, *, key: Key) -> list[str]:
    """Paths below `root` that exist and have the parts of `path` by `key`, at most a few; exact parts come first."""
    found, prefix = [""], f"{root}/"
    for part in path.split("/"):
        found = [f"{start}{name}/" for start in found for name in _named(prefix + start, part, key)][:_MOST]
        if not found:
            break
    return [name.rstrip("/") for name in found]


def _named(folder: str, part: str, key: Key) -> Iterable[str]:
    if os.path.lexists(folder + part):
        return [part]
    return _listing(folder, key).get(key(part), ())


@functools.lru_cache(maxsize=64)
def _listing(folder: str, key: Key) -> Mapping[str, tuple[str, ...]]:
    """The names in `folder` by key; empty if it cannot be listed."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names[key(entry.name)].append(entry.name)
    except OSError:
        return {}
    return {plain: tuple(sorted(same)) for plain, same in names.items()}


def hint(path: Path | str) -> str:
    """The end of a message about a missing file: its other spellings, if there are any, or where its link leads."""
    path = Path(path).absolute()
    if path.is_symlink():
        return printable(f"; it is a link to {path.readlink()}, which does not exist")
    start = next((folder for folder in path.parents if folder.is_dir()), None)
    if start is None:
        return ""
    others = others_of(start, str(path.relative_to(start)), key=same_stem)
    named = printable(" or ".join(str(start / other) for other in others[:2]))
    return f"; did you mean {named}?" if others else ""
