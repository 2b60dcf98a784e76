"""Rows of label sources before and after they are checked, and what was unusual about them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

SPLITS = ("train", "val", "test")
ALL = "all"
"""In place of a split: a source of several splits, and pages of a list that is not divided yet."""

PAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".pdf"})
"""Suffixes, in lower case, of the files that are pages in a class folder; other files are passed over and counted."""


class Label(NamedTuple):
    """One example: a page id, which is the page's path relative to the data root, and a class id."""

    page_id: str
    class_id: int


class Row(NamedTuple):
    """One line of a label file or table: path and class as written, its line number, and optional columns."""

    path: str
    label: str
    line: int
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class LabelWarning:
    """A problem of the labels that is reported and does not stop a conversion.

    kind: a word for programs; detail: a text for the user; count: lines, pages or files that it is about.
    """

    kind: str
    split: str
    page_id: str | None
    detail: str
    count: int = 1


TEXTS = {
    "blanks": "several blanks, a tab, or blanks at an end; read as one blank",
    "quoted": "quotes around the path; read without them",
    "absolute": "an absolute path; read relative to data.root",
    "backslashes": "backslashes in the path; read as slashes",
    "dots": "a path with `.` or `//`; read as the plain path",
    "encoding": "not plain UTF-8",
    "line_ends": "line ends of another system; read as line ends",
    "header": "a line with the names of the columns; not an example",
    "other_spelling": "a path that differs from its file in upper and lower case or in the form of an accented "
    "letter; read as the file's name",
}


@dataclass
class Notes:
    """What is accepted though it is written in an unusual way: lines by kind, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kinds: Iterable[str], example: str) -> None:
        """Count a line of these kinds of `TEXTS`; `example` is kept for the first one."""
        for kind in kinds:
            self.counts[kind] += 1
            self.first.setdefault(kind, example)

    def warnings(self, split: str, *, source: str) -> list[LabelWarning]:
        """One warning for each kind."""
        return [
            LabelWarning(kind, split, None, f"{source}: {self._text(kind)}", count)
            for kind, count in sorted(self.counts.items())
        ]

    def _text(self, kind: str) -> str:
        count = self.counts[kind]
        return f"{count} {'line' if count == 1 else 'lines'}: {TEXTS[kind]} (first: {self.first[kind]})"
