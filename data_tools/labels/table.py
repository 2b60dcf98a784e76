"""Tables of labels: CSV and TSV files with a header, as spreadsheets and pandas write them."""

import csv
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.errors import UserError
from data_tools.labels.classes.names import plain_name
from data_tools.labels.classes.stratified import DOCUMENT, FOLDER
from data_tools.labels.label import PAGE_SUFFIXES, Notes, Row
from data_tools.labels.label_file import LABEL_NAMES, PATH_NAMES, SPLIT_NAMES, looks_like_lines
from data_tools.plain_text import printable

_DELIMITERS = (",", ";", "\t", "|")
_TABLE_SUFFIXES = {".csv": None, ".tsv": "\t", ".tab": "\t"}
"""Suffixes of tables, and the delimiter of those that have one."""
_USUAL = {"path": PATH_NAMES, "label": LABEL_NAMES, "split": SPLIT_NAMES}
_LONGEST_FIELD = 2**20
_DECLARATION = re.compile(r"""\s*"?sep=([^\s"]|\t)"?[^\S\n]*\n""", re.IGNORECASE)
"""Excel's line `sep=;` with the line end, and blank lines before it."""


@dataclass(frozen=True, kw_only=True)
class ColumnsConfig:
    """Names of a table's columns. None: the column with one of the usual names."""

    path: str | None = None
    label: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        """Check that no column has two purposes."""
        given = [name for name in (self.path, self.label, self.split) if name is not None]
        if len(set(given)) < len(given):
            raise UserError(f"path, label, split: {', '.join(given)}: name a different column for each")


@dataclass(frozen=True)
class Table:
    """The rows of a table, and whether it has a column of splits."""

    rows: list[Row]
    has_splits: bool


@dataclass(frozen=True)
class _Places:
    """Positions of the columns in a row; None: no such column."""

    path: int
    label: int
    split: int | None
    group: int | None


def is_table(text: str, path: Path, columns: ColumnsConfig | None) -> bool:
    """Whether a label source is a table: by its suffix, by `data.columns`, or by a header with the usual names."""
    if columns is not None:
        return True
    if path.suffix.lower() in _TABLE_SUFFIXES:
        return not looks_like_lines(text)
    if _DECLARATION.match(text):
        return True
    return any(
        _find("path", header, None) is not None and _find("label", header, None) is not None
        for delimiter in _DELIMITERS
        for header in [_header(text, delimiter)]
        if len(header) > 1
    )


def parse_table(
    text: str, path: Path, columns: ColumnsConfig | None, *, group: str | None = None, notes: Notes | None = None
) -> Table:
    """The rows of a table, in its order; rows without any text are skipped. group: the column of `data.split.by`.

    Headers that are repeated, as in joined tables, are counted in `notes`.

    Raises:
        UserError: a column is missing or ambiguous, a row lacks its path or class, or the quotes do not match.
    """
    columns = columns or ColumnsConfig()
    declared = _DECLARATION.match(text)
    skipped = declared[0].count("\n") if declared else 0
    delimiter = declared[1] if declared else _delimiter(text, path, columns)
    records = _records(text[declared.end() :] if declared else text, delimiter, path, skipped)
    first = next(records, None)
    if first is None:
        raise UserError(f"{path}: the table is empty")
    header = [name.strip() for name in first[1]]
    places = _places(header, columns, group, f"{path}:{first[0]}")
    rows, names = [], [name.casefold() for name in header]
    for line, record in records:
        if _is_header_again(record, names, places, f"{path}:{line}"):
            if notes is not None:
                notes.add(["header"], f"line {line}")
        else:
            rows.append(_row(record, line, places, len(header), path))
    if not rows:
        raise UserError(f"{path}: the table has a header and no rows")
    return Table(rows, places.split is not None)


def _delimiter(text: str, path: Path, columns: ColumnsConfig) -> str:
    given = _TABLE_SUFFIXES.get(path.suffix.lower())
    if given is not None:
        return given

    def fits(delimiter: str) -> tuple[int, int]:
        header = _header(text, delimiter)
        known = sum(_find(name, header, getattr(columns, name)) is not None for name in _USUAL)
        return known, len(header)

    return max(_DELIMITERS, key=fits)


def _header(text: str, delimiter: str) -> list[str]:
    head = text.lstrip("\n")[:_LONGEST_FIELD]
    try:
        return [name.strip() for name in next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def _records(text: str, delimiter: str, path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Line number of the beginning and fields of each record that has any text."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1 + skipped
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}:{line}: not a valid row ({error}); check its quotes: a quote within quotes is written twice"
            ) from None
        if record is None:
            return
        if any(field.strip() for field in record):
            yield line, record


def _find(purpose: str, header: Sequence[str], given: str | None) -> int | None:
    """The position of the column for `purpose`; None if there is none or more than one."""
    if given is None:
        places = [place for place, name in enumerate(header) if is_usual(name, purpose)]
    else:
        places = [place for place, name in enumerate(header) if name == given]
        places = places or [place for place, name in enumerate(header) if name.casefold() == given.casefold()]
    return places[0] if len(places) == 1 else None


def is_usual(name: str, purpose: str) -> bool:
    """Whether a column's name is usual for `path`, `label` or `split`."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold()) in _USUAL[purpose]


def _places(header: Sequence[str], columns: ColumnsConfig, group: str | None, where: str) -> _Places:
    def place(purpose: str) -> int:
        given = getattr(columns, purpose)
        found = _find(purpose, header, given)
        if found is None:
            raise _column_error(purpose, header, given, where)
        return found

    optional = columns.split is None and not any(is_usual(name, "split") for name in header)
    return _Places(
        path=place("path"),
        label=place("label"),
        split=None if optional else place("split"),
        group=None if group is None else _group_place(header, group, where),
    )


def _group_place(header: Sequence[str], group: str, where: str) -> int | None:
    """The position of the column of `data.split.by`; None if that is a word of the setting and no column."""
    if group in (*DOCUMENT, FOLDER):
        return header.index(group) if header.count(group) == 1 else None
    found = _find("group", header, group)
    if found is None:
        many = any(name.casefold() == group.casefold() for name in header)
        raise UserError(
            f"{where}: data.split.by: the table has {'several columns' if many else 'no value in a column'} {group!r}; "
            f"the columns: {printable(', '.join(header))}; name one of them, document, or folder"
        )
    return found


def _column_error(purpose: str, header: Sequence[str], given: str | None, where: str) -> UserError:
    """Why no column, or no single one, serves the purpose."""
    known = ", ".join(header)
    usual = [name for name in header if is_usual(name, purpose)]
    if given is not None:
        many = [name for name in header if name.casefold() == given.casefold()]
        near = difflib.get_close_matches(given, header, n=1)
        problem = f"{len(many)} columns {given!r}; rename all but one" if many else f"no column {given!r}"
        return UserError(
            f"{where}: data.columns.{purpose}: {problem}; {f'did you mean {near[0]!r}? ' if near and not many else ''}"
            f"the columns: {known}"
        )
    if usual:
        # A name that two columns have chooses neither of them.
        single = next((name for name in usual if usual.count(name) == 1), None)
        choice = f"choose one with data.columns: {{{purpose}: {single}}}" if single else "rename or delete all but one"
        return UserError(f"{where}: the columns {', '.join(usual)} may all hold the {purpose}; {choice}")
    if any(Path(name.strip()).suffix.lower() in PAGE_SUFFIXES for name in header):
        return UserError(f"{where}: the table has no header; begin it with a line such as `path,label`")
    return UserError(
        f"{where}: no column for the {purpose} among {known}; name it: data.columns: {{{purpose}: COLUMN}}"
    )


def _is_header_again(record: Sequence[str], names: Sequence[str], places: _Places, where: str) -> bool:
    """Whether a row is the header of another table that was joined to this one. names: the columns in lower case."""
    for place in (places.label, places.path):
        cell = record[place].strip().casefold() if place < len(record) else ""
        if not cell or cell not in names:
            return False
    cells = [cell.strip().casefold() for cell in record]
    if cells[: len(names)] != names or any(cells[len(names) :]):
        raise UserError(f"{where}: a header with its columns in another order or number; join tables of equal columns")
    return True


def _row(record: Sequence[str], line: int, places: _Places, width: int, path: Path) -> Row:
    where = f"{path}:{line}"
    if len(record) > width and any(field.strip() for field in record[width:]):
        raise UserError(
            f"{where}: {len(record)} fields, but the header has {width}; put a field that holds the delimiter in quotes"
        )

    def field(place: int | None) -> str | None:
        return None if place is None else record[place].strip() if place < len(record) else ""

    page, label = field(places.path), plain_name(field(places.label) or "")
    for name, text in (("path", page), ("class", label)):
        if not text:
            raise UserError(f"{where}: the {name} is missing; fill it in or delete the row")
    return Row(page or "", label, line, field(places.split), field(places.group))
