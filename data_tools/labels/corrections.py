"""Corrections of labels: a CSV file of decisions on single pages, read strictly, and applied to labels by page id.

    id,split,label,new_label,by,time,run,score
    imagesa/a/b/1.tif,train,4,6,anna,2026-11-26T17:40:00Z,runs/first,0.9731

`label` is what the page has in the label files, `new_label` the class that it belongs to (id or name each), `exclude`
(train and score without the page), or `keep` (the label is right: nothing changes). The other columns are provenance.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.files import write_atomically
from data_tools.labels.label import SPLITS

EXCLUDE = "exclude"
KEEP = "keep"
RELABEL = "relabel"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a cell as a formula."""
REQUIRED = ("id", "split", "label", "new_label")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One row. label, new_label: as written; by, time, run: who decided, when, and on the ranking of which run.

    score: of the page in that ranking.
    """

    id: str
    split: str
    label: str
    new_label: str
    by: str = ""
    time: str = ""
    run: str = ""
    score: str = ""


@dataclass(frozen=True)
class Corrections:
    """The rows of a file, with their line numbers for messages."""

    path: Path
    rows: tuple[Correction, ...]
    lines: tuple[int, ...]

    def of_split(self, split: str) -> "Corrections":
        """The rows of one split."""
        chosen = [place for place, row in enumerate(self.rows) if row.split == split]
        return Corrections(self.path, tuple(self.rows[i] for i in chosen), tuple(self.lines[i] for i in chosen))


@dataclass(frozen=True, eq=False)
class Corrected:
    """Labels after corrections. labels: class indices int32 [n]; kept: bool [n], False for excluded pages.

    counts: pages by decision: `relabel`, `exclude`, `keep`.
    """

    labels: NDArray[np.int32]
    kept: NDArray[np.bool_]
    counts: Counter[str]


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections; `corrected` compares its rows with the pages and with each other.

    Raises:
        UserError: the file cannot be read or is no such table, or a row is incomplete or names an unknown split. The
            text names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"data.corrections: {path}: not UTF-8; save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise UserError(f"data.corrections: {_shown(str(path))}: cannot be read ({error})") from None
    rows: list[Correction] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, path)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_row(cells, header, where=f"{path}:{reader.line_num}"))
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"data.corrections: {path}:{reader.line_num}: not a CSV row ({error})") from None
    return Corrections(path, tuple(rows), tuple(lines))


def _shown(text: str) -> str:
    """`text` for a message of one line."""
    return text if text.isprintable() else ascii(text)


def _delimiter(text: str) -> str:
    """What separates the columns in the first line: a comma, or what spreadsheets of other countries write."""
    first = text.split("\n", 1)[0]
    return max(_DELIMITERS, key=first.count)


def write_corrections(path: Path, rows: Iterable[Correction]) -> None:
    """Write `rows` as a file of corrections, atomically; no cell is a spreadsheet's formula.

    Raises:
        OSError: it cannot be written.
    """
    names = [field.name for field in fields(Correction)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(name, getattr(row, name)) for name in names] for row in rows)
    write_atomically(path, text.getvalue())


def _cell(name: str, value: str) -> str:
    if not value.startswith(FORMULA):
        return value
    # The same page by another spelling, which the reader undoes.
    return f"./{value}" if name == "id" else f"'{value}"


def _plain_id(cell: str) -> str:
    """The page id: one that would be a formula is written with `./`, which no page id begins with."""
    return cell.removeprefix("./")


def _check_header(header: Sequence[str], path: Path) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing or len(set(header)) < len(header):
        what = f"has no column {missing[0]}" if missing else "names a column twice"
        raise UserError(
            f"data.corrections: {path}: its first line {what}; give the columns {', '.join(REQUIRED)}, separated by "
            "commas"
        )


def _row(cells: Sequence[str], header: Sequence[str], *, where: str) -> Correction:
    if len(cells) != len(header):
        raise UserError(f"data.corrections: {where}: {len(cells)} cells in {len(header)} columns; quote a comma")
    known = {field.name for field in fields(Correction)}
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name in known}
    values["id"] = _plain_id(cells[list(header).index("id")])
    empty = [name for name in REQUIRED if not values[name]]
    if empty:
        raise UserError(f"data.corrections: {where}: {empty[0]} is empty")
    row = Correction(**values)
    if row.split not in SPLITS:
        raise UserError(f"data.corrections: {where}: split {row.split!r} is not one of {', '.join(SPLITS)}")
    return row


def corrected(
    given: Corrections,
    places: Mapping[str, int],
    labels: NDArray[np.int32],
    *,
    class_ids: Sequence[int],
    class_names: Sequence[str],
) -> Corrected:
    """Apply the rows of one split to its labels; equal decisions on one page count once.

    places: position of each page id in `labels`, class indices int32 [n]; class_ids, class_names: by class index.

    Raises:
        UserError: a page or class that does not exist, a page whose label is not the one in the row, or two rows that
            contradict each other; the text names file and line.
    """
    changed, kept, counts = labels.copy(), np.ones(len(labels), np.bool_), Counter[str]()
    decided: dict[int, tuple[int, int | None]] = {}
    classes = _Classes(tuple(class_ids), tuple(class_names))
    for row, line in zip(given.rows, given.lines, strict=True):
        where = f"data.corrections: {given.path}:{line}"
        place = places.get(row.id)
        if place is None:
            raise UserError(
                f"{where}: no page {_shown(row.id)} among the {row.split} pages of the shards; remove the row"
            )
        old, new = classes.place(row.label, where), classes.decision(row, where)
        if labels[place] != old:
            found = class_ids[int(labels[place])]
            raise UserError(
                f"{where}: page {_shown(row.id)} has the label {found}, not {_shown(row.label)}; fix or remove the row"
            )
        line_before, before = decided.setdefault(place, (line, new))
        if before != new:
            raise UserError(
                f"{where}: contradicts line {line_before} on {row.split} page {_shown(row.id)}; remove one of them"
            )
        if line_before == line:
            counts[EXCLUDE if new is None else KEEP if new == old else RELABEL] += 1
        kept[place], changed[place] = new is not None, old if new is None else new
    return Corrected(changed, kept, counts)


class _Classes(NamedTuple):
    """The classes by index, and what texts in a file mean."""

    ids: tuple[int, ...]
    names: tuple[str, ...]

    def decision(self, row: Correction, where: str) -> int | None:
        """Index of the class that a page gets; None: it is excluded."""
        if row.new_label in (EXCLUDE, KEEP) and row.new_label in self.names:
            raise UserError(f"{where}: {row.new_label} is a decision and the name of a class; give the class by its id")
        if row.new_label == EXCLUDE:
            return None
        return self.place(row.label if row.new_label == KEEP else row.new_label, where)

    def place(self, text: str, where: str) -> int:
        """Index of the class that `text` names by id or name."""
        found = {place for place, class_id in enumerate(self.ids) if str(class_id) == text}
        found |= {place for place, name in enumerate(self.names) if name == text}
        if len(found) == 1:
            return found.pop()
        if found:
            raise UserError(
                f"{where}: {_shown(text)} is the name of one class and the id of another; use the other's name"
            )
        known = ", ".join(n if n == str(i) else f"{i} ({n})" for i, n in zip(self.ids, self.names, strict=True))
        raise UserError(f"{where}: no class {_shown(text)}; the classes: {known}")


def original_labels(
    given: Corrections, *, class_ids: Sequence[int], class_names: Sequence[str]
) -> dict[tuple[str, str], int]:
    """The class id that each named page has in the shards, by (split, page id).

    Raises:
        UserError: a class that does not exist.
    """
    classes = _Classes(tuple(class_ids), tuple(class_names))
    return {
        (row.split, row.id): class_ids[classes.place(row.label, f"data.corrections: {given.path}:{line}")]
        for row, line in zip(given.rows, given.lines, strict=True)
    }
