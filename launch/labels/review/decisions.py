"""What a person decided about pages, and the tables that hold it: of corrections, or of labels for new pages."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from data_tools.errors import UserError
from data_tools.files import write_atomically
from data_tools.labels.corrections import EXCLUDE, FORMULA, KEEP, Correction, read_corrections, write_corrections
from launch.labels.ranking import POOL, RankedPage

Verdict = Literal["keep", "relabel", "exclude", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

CORRECTIONS = "corrections.csv"
POOL_LABELS = "pool_labels.csv"
POOL_COLUMNS = ("path", "label", "name", "by", "time", "run", "score")
"""Columns of the labels of new pages, which `data.train` reads as a table; name: of the class, for people."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_LONGEST_NAME = 100

Key = tuple[str, str]
"""Split and id of a page."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's decision about a page. label: class id of a `relabel`; given: the page's label when it was made.

    by: who; time: when, ISO 8601 in UTC.
    """

    id: str
    split: str
    decision: Verdict
    label: int | None = None
    given: int | None = None
    by: str = ""
    time: str = ""

    @property
    def key(self) -> Key:
        """Split and id of the page."""
        return self.split, self.id


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The pages under review and their table. classes: name by class id. run: as the table names it."""

    path: Path
    pages: Mapping[Key, RankedPage]
    classes: Mapping[int, str]
    run: str
    pool: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table."""
        return POOL_COLUMNS if self.pool else tuple(field.name for field in fields(Correction))

    @property
    def rest(self) -> Path:
        """Path of the decisions that change no label: `unsure`, and of new pages also `exclude`."""
        return self.path.with_name(f"{self.path.stem}.others.csv")


def decision_of(value: Any, sheet: Sheet, *, now: str) -> tuple[Key, Decision | None]:
    """The page and the decision that a request brings; None takes a decision back. now: ISO 8601 in UTC.

    Raises:
        UserError: it is of no page or class of the review, or no decision.
    """
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("id", "split")):
        raise UserError("a decision names a page by id and split")
    key = value["split"], value["id"]
    page = sheet.pages.get(key)
    if page is None:
        raise UserError(f"{key[1][:200]}: not a page of this review")
    verdict, label, by, time = (value.get(name) for name in ("decision", "label", "by", "time"))
    if verdict is None:
        return key, None
    if verdict not in VERDICTS or (verdict == "keep" and page.label is None):
        raise UserError(f"decision: {str(verdict)[:40]} is not one of {', '.join(VERDICTS)}")
    if verdict == "relabel" and (type(label) is not int or label not in sheet.classes):
        raise UserError(f"label: {str(label)[:40]} is not a class of this run")
    return key, Decision(
        id=key[1],
        split=key[0],
        decision=cast(Verdict, verdict),
        label=label if verdict == "relabel" else None,
        given=page.label,
        by=" ".join(by.split())[:_LONGEST_NAME] if isinstance(by, str) else "",
        time=time if isinstance(time, str) and _TIME.fullmatch(time) else now,
    )


def correction_of(decision: Decision, page: RankedPage, sheet: Sheet) -> Correction:
    """The row of a decision other than `unsure`; a page with its label in the shards is kept."""
    label = page.label if decision.decision == "keep" else decision.label
    new = EXCLUDE if decision.decision == "exclude" else KEEP if label == page.original else str(label)
    return Correction(
        id=page.id, split=page.split, label=str(page.original), new_label=new, by=decision.by, time=decision.time,
        run=sheet.run, score=str(page.score),
    )  # fmt: skip


def read_decisions(sheet: Sheet) -> list[Decision]:
    """The decisions about pages of the review that its tables hold; none without tables.

    Raises:
        UserError: a table is damaged.
    """
    rows = _pool_rows(sheet) if sheet.pool else _rows(sheet.path)
    found = {(row.split, row.id): row for row in (*_other_rows(sheet), *rows)}
    read = (_read(row, sheet.pages[key], sheet) for key, row in found.items() if key in sheet.pages)
    return [decision for decision in read if decision is not None]


def _rows(path: Path) -> Sequence[Correction]:
    return read_corrections(path).rows if path.exists() else ()


def _own_rows(path: Path, page: str, label: str) -> list[Correction]:
    """The rows of a table that only a review reads; page, label: names of these columns."""
    if not path.exists():
        return []
    try:
        records = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of decisions ({error})") from None
    found = []
    for record in records:
        if not record.get(page) or not record.get(label):
            raise UserError(f"{path}: a row has no {page} or {label}; fill it in, or delete the row")
        cells = {name: record.get(name) or "" for name in ("by", "time", "run", "score")}
        split, given = record.get("split") or POOL, record.get("label") if label != "label" else ""
        text = record[page].removeprefix("./")
        found.append(Correction(id=text, split=split, label=given or "", new_label=record[label], **cells))
    return found


def _other_rows(sheet: Sheet) -> list[Correction]:
    return _own_rows(sheet.rest, "id", "new_label")


def _pool_rows(sheet: Sheet) -> list[Correction]:
    return _own_rows(sheet.path, "path", "label")


def _read(row: Correction, page: RankedPage, sheet: Sheet) -> Decision | None:
    """The decision of a row; None if it is of a class that the run does not have."""
    of_row = Decision(id=page.id, split=page.split, decision="unsure", given=page.label, by=row.by, time=row.time)
    if row.new_label == "unsure":
        return of_row
    if row.new_label == EXCLUDE:
        return replace(of_row, decision="exclude")
    names = {name: class_id for class_id, name in sheet.classes.items()}
    text = row.new_label
    label = page.original if text == KEEP else int(text) if text.isdecimal() else names.get(text)
    if label is None or label not in sheet.classes:
        return None
    kept = label == page.label
    return replace(of_row, decision="keep" if kept else "relabel", label=None if kept else label)


def check_columns(sheet: Sheet) -> None:
    """Check that writing the tables anew loses no column that a person has added.

    Raises:
        UserError: a table has one; the text names it.
    """
    known = {*sheet.columns, *(field.name for field in fields(Correction))}
    for path in (sheet.path, sheet.rest):
        text = path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""
        header = next(csv.reader([text.partition("\n")[0].replace(";", ",").replace("\t", ",")]), [])
        added = [name.strip() for name in header if name.strip() not in known]
        if added:
            raise UserError(
                f"{path}: the column {added[0]} would be lost, since a review writes {', '.join(sheet.columns)}; "
                "remove it, or name another table with --decisions"
            )


def write_decisions(sheet: Sheet, changed: Mapping[Key, Decision | None]) -> None:
    """Write decisions into the tables, each atomically; None removes one. Rows about other pages stay as they are.

    Raises:
        UserError: a table is damaged, or has columns that would be lost.
        OSError: a table cannot be written.
    """
    check_columns(sheet)
    decided = [decision for decision in changed.values() if decision is not None]
    others = [one for one in decided if one.decision == "unsure" or (sheet.pool and one.decision == "exclude")]
    applied = [one for one in decided if one not in others]
    before = _other_rows(sheet)
    if others or any((row.split, row.id) in changed for row in before):
        write_corrections(sheet.rest, [*_unchanged(before, changed), *(_other(one, sheet) for one in others)])
    if sheet.pool:
        rows = [*_unchanged(_pool_rows(sheet), changed), *(_pool_row(one, sheet) for one in applied)]
        write_atomically(sheet.path, pool_table(rows, sheet))
    else:
        new = [correction_of(one, sheet.pages[one.key], sheet) for one in applied]
        write_corrections(sheet.path, [*_unchanged(_rows(sheet.path), changed), *new])


def _unchanged(rows: Iterable[Correction], changed: Mapping[Key, Any]) -> list[Correction]:
    return [row for row in rows if (row.split, row.id) not in changed]


def _other(decision: Decision, sheet: Sheet) -> Correction:
    page = sheet.pages[decision.key]
    return Correction(
        id=page.id, split=page.split, label="" if page.original is None else str(page.original),
        new_label=decision.decision, by=decision.by, time=decision.time, run=sheet.run, score=str(page.score),
    )  # fmt: skip


def _pool_row(decision: Decision, sheet: Sheet) -> Correction:
    return replace(_other(decision, sheet), new_label=str(decision.label))


def pool_table(rows: Iterable[Correction], sheet: Sheet) -> str:
    """The labels of new pages as a table of `POOL_COLUMNS`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(POOL_COLUMNS)
    for row in rows:
        name = sheet.classes.get(int(row.new_label), "") if row.new_label.isdecimal() else row.new_label
        values = asdict(row)
        cells = [row.new_label, _text_cell(name), *(_text_cell(str(values[name])) for name in POOL_COLUMNS[3:])]
        writer.writerow([_id_cell(row.id), *cells])
    return text.getvalue()


def _id_cell(page_id: str) -> str:
    """The same page by another spelling where its id is a spreadsheet's formula; labels are read without it."""
    return f"./{page_id}" if page_id.startswith(FORMULA) else page_id


def _text_cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
