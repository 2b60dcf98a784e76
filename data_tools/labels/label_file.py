"""Label files: lines of a path, a blank and a class."""

import re
from pathlib import Path

from data_tools.errors import UserError
from data_tools.labels.classes.names import is_integer, plain_name
from data_tools.labels.label import PAGE_SUFFIXES, Notes, Row

PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "page",
    "document",
)
LABEL_NAMES = ("label", "class", "category", "type", "class_name", "document_type", "document_class")
SPLIT_NAMES = ("split", "fold", "set", "subset", "partition")
"""Usual names of the columns, in lower case, with `_` for blanks and hyphens."""

_SUFFIX = "|".join(sorted(suffix[1:] for suffix in PAGE_SUFFIXES))
_AFTER_PAGE = re.compile(rf"""^(.*\.(?:{_SUFFIX})(?:\#page=\d+)?["']?)\s+(\S.*)$""", re.IGNORECASE)
"""A page's path and the rest of the line, which may be a class name of several words."""
_DELIMITERS = (",", ";", "|", ":")
_DELIMITED = re.compile(rf"\.(?:{_SUFFIX})(?:#page=\d+)?[\"']?\s*[,;|:]", re.IGNORECASE)
_PAGE_END = re.compile(rf"\.(?:{_SUFFIX})(?:#page=\d+)?[\"']?\s*$", re.IGNORECASE)
_PAGE_IN = re.compile(rf"\.(?:{_SUFFIX})(?:#page=\d+)?[\"']?(?:\s|$)", re.IGNORECASE)


def parse_lines(text: str, path: Path, notes: Notes) -> list[Row]:
    """The rows of a label file in its order; blank lines are skipped, as are lines `path label`.

    Raises:
        UserError: a line has no path or no class, or a delimiter between them, or there is no line.
    """
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), start=1):
        body = line.strip()
        if not body:
            continue
        page, label, unusual = _parts(body, f"{path}:{number}")
        if page.strip().lower() in PATH_NAMES and label.lower() in LABEL_NAMES:
            notes.add(["header"], f"line {number}")
            continue
        if unusual or body != line:
            notes.add(["blanks"], f"line {number}")
        rows.append(Row(page, label, number))
    if not rows:
        raise UserError(f"{path}: the label file is empty")
    return rows


def looks_like_lines(text: str) -> bool:
    """Whether the first line is one of a label file, with a blank or tab after the page and no other delimiter."""
    first = next((line for line in text.split("\n") if line.strip()), "").strip()
    return _AFTER_PAGE.match(first) is not None and not re.search("[,;|]", first)


def _parts(body: str, where: str) -> tuple[str, str, bool]:
    """Path and class of a line, and whether more than one blank is between them."""
    page, blank, token = body.rpartition(" ")
    if blank and "\t" not in body and page[-1:].strip() and is_integer(token) and _ends_as_page(page):
        return page, token, False
    page, label, unusual = _unusual_parts(body)
    label = plain_name(label)
    delimited = page.endswith(_DELIMITERS) or label.startswith(_DELIMITERS)
    delimited = delimited or (_DELIMITED.search(body) is not None and not _ends_as_page(page))
    if delimited or not page.strip() or not label:
        hint = (
            "; put a blank alone between the two; a table needs a first line such as `path,label`" if delimited else ""
        )
        raise UserError(f"{where}: expected `path/to/page.tif CLASS_ID`, found {body!r}{hint}")
    return page, label, unusual


def _unusual_parts(body: str) -> tuple[str, str, bool]:
    left, tab, right = body.rpartition("\t")
    if tab and left.strip() and not _PAGE_IN.search(right):
        return left.rstrip(), right, True
    page, token = body.rsplit(maxsplit=1) if len(body.split(maxsplit=1)) > 1 else ("", body)
    rest = _AFTER_PAGE.match(body)
    if rest and not (is_integer(token) and _ends_as_page(page)):
        page, token = rest[1], rest[2]
    return page, token, body[len(page) : len(body) - len(token)] not in ("", " ")


def _ends_as_page(page: str) -> bool:
    return _PAGE_END.search(page[-24:]) is not None
