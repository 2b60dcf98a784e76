"""What a conversion reports of pages that it keeps: nearly black or blank ones, and pages of documents left out."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from data_tools.documents.content import content_of
from data_tools.documents.data_set import SPLITS
from data_tools.documents.document import Document
from data_tools.documents.page_path import document_of, split_page_id
from data_tools.documents.pixels import Pixels
from data_tools.files import read_lines, write_atomically
from data_tools.labels.label import Label

PAGE_NOTES = "page_notes.jsonl"

Kind = Literal["black", "blank", "left_out"]


class PageNote(TypedDict):
    """A page that was kept, and what a person should know of it.

    kind: `black` or `blank` (nearly), or `left_out`: `count` further pages of its document were not asked for.
    detail: for black and blank, what the file holds otherwise; "" if nothing speaks against it.
    """

    split: str
    page: str
    label: int
    kind: Kind
    count: int
    detail: str


def notes_of(page: Pixels, label: Label, document: Document, *, split: str, page_limit: int) -> list[PageNote]:
    """The notes of a decoded page, uint8 [h, w(, 3)], of an open document. Costs microseconds for most pages."""
    notes: list[PageNote] = []
    number = split_page_id(label.page_id)[1]

    def add(kind: Kind, count: int, detail: str) -> None:
        notes.append(
            {
                "split": split,
                "page": label.page_id,
                "label": label.class_id,
                "kind": kind,
                "count": count,
                "detail": detail,
            }
        )

    content = content_of(page)
    if content != "page":
        add(content, 1, document.doubt(number) or "")
    if number == page_limit and document.pages > page_limit:
        add("left_out", document.pages - page_limit, f"{document.pages} pages")
    return notes


def write_page_notes(folder: Path, notes: Iterable[PageNote], *, splits: Sequence[str]) -> None:
    """Write PAGE_NOTES for the `splits` that were converted now; lines of the others are kept."""
    kept: list[PageNote] = [note for note in read_page_notes(folder) if note["split"] not in splits]
    lines = sorted([*kept, *notes], key=lambda note: (SPLITS.index(note["split"]), note["kind"], note["page"]))
    write_atomically(folder / PAGE_NOTES, "".join(f"{json.dumps(note)}\n" for note in lines))


def read_page_notes(folder: Path) -> list[PageNote]:
    """The notes in `folder`; none if it has no file of them."""
    return [
        PageNote(
            split=line["split"],
            page=line["page"],
            label=line["label"],
            kind=line["kind"],
            count=line["count"],
            detail=line["detail"],
        )
        for line in read_lines(folder / PAGE_NOTES)
    ]


_SHOWN = 5


def summary_lines(notes: Sequence[PageNote], *, pages: str) -> list[str]:
    """What a person reads of the notes, a line each; pages: the value of `data.pages`."""
    lines = []
    for kind in ("black", "blank"):
        found = [note for note in notes if note["kind"] == kind]
        if found:
            lines.append(f"{_count(len(found), 'page')} nearly {kind}: {_named([note['page'] for note in found])}")
        doubtful = [note for note in found if note["detail"]]
        if doubtful:
            named = _named([f"{note['page']} ({note['detail']})" for note in doubtful])
            lines.append(f"{_count(len(doubtful), 'page')} nearly {kind} although the file holds more: {named}")
    left_out = [note for note in notes if note["kind"] == "left_out"]
    if left_out:
        named = _named([f"{document_of(note['page'])} ({note['detail']})" for note in left_out])
        lines.append(
            f"{sum(note['count'] for note in left_out)} pages of {_count(len(left_out), 'document')} left out by "
            f"data.pages: {pages}: {named}"
        )
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _named(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
