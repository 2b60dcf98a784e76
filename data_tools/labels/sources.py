"""From the label sources of a configuration to labels by split."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from data_tools.errors import UserError
from data_tools.labels.classes.names import alike, ids_of_labels, is_integer, known_names
from data_tools.labels.folder_tree import labels_of_tree, scan, scan_beside, tree_warnings
from data_tools.labels.label import ALL, SPLITS, Label, LabelWarning, Notes, Row
from data_tools.labels.label_file import parse_lines
from data_tools.labels.links import FileId, file_ids, link_warnings, links_among
from data_tools.labels.page_id import canonical, document_of
from data_tools.labels.spelling import composed, spelled_as_on_disk
from data_tools.labels.table import ColumnsConfig, is_table, parse_table
from data_tools.labels.text import read_text

SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split of each value of a split column, and of each name of a folder, in lower case."""


_DIVIDED = (ALL, "train")
"""Where `data.split` takes pages from."""


@dataclass(frozen=True)
class Sources:
    """Where labels come from: `places` are files or folders by split, or one for `ALL` of them.

    group: the column of `data.split.by`; class_names: as in `data.class_names`.
    """

    root: Path
    places: Mapping[str, Path]
    columns: ColumnsConfig | None = None
    group: str | None = None
    class_names: str | tuple[str, ...] | None = None
    allow_empty: bool = False
    follow_outside: bool = False


class Line(NamedTuple):
    """A row with its page id and the place that it comes from."""

    row: Row
    split: str
    page_id: str
    place: Path

    @property
    def where(self) -> str:
        """File and line number, for errors."""
        return f"{self.place}:{self.row.line}"


@dataclass(frozen=True)
class Listed:
    """Labels by split, or by `ALL` where the source gives no split; class names by id if the source has names.

    groups: the value of the column `Sources.group` by page id. lines: of files, where each label is found. links: of
    folders, the page of each page id that is a link to it.
    """

    labels: dict[str, list[Label]]
    names: dict[int, str]
    warnings: list[LabelWarning]
    groups: dict[str, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)

    def remedy(self, page_id: str, splits: Collection[str]) -> str:
        """What to do about a page with two classes, for errors."""
        lines = [line for line in self.lines if line.page_id == page_id and line.split in splits]
        if lines:
            return f"keep one of the lines {', '.join(f'{line.where} ({line.row.label})' for line in lines)}"
        links = [link for link, page in self.links.items() if page == page_id]
        return f"remove the link {' or '.join(links)}" if links else "keep one of them"


def read_sources(sources: Sources) -> Listed:
    """Read every source.

    Raises:
        UserError: a source is missing, empty or malformed, or files and folders are mixed.
    """
    folders = [split for split, place in sources.places.items() if place.is_dir()]
    if len(folders) == len(sources.places):
        return _read_trees(sources)
    if folders:
        raise UserError(f"data.{folders[0]}: is a folder; give three folders or three label files, not both kinds")
    return _read_files(sources)


def _read_trees(sources: Sources) -> Listed:
    places = dict(sources.places)
    if sources.columns is not None:
        raise UserError("data.columns: has no effect on folders; remove it, or give a table")
    warnings: list[LabelWarning] = []
    if ALL in places and (inside := split_folders(places[ALL])):
        beside = scan_beside(places[ALL], {place.name for place in inside.values()})
        warnings = tree_warnings(beside, ALL, places[ALL], where="beside the folders of the splits, ")
        places = inside
    found = {split: scan(sources.root, place, follow_outside=sources.follow_outside) for split, place in places.items()}
    labels, names = labels_of_tree(found, places, allow_empty=sources.allow_empty)
    links: dict[str, str] = {}
    if any(one.through_links for one in found.values()):
        page_ids = [label.page_id for own in labels.values() for label in own]
        links = links_among(str(sources.root), page_ids, file_ids(str(sources.root), page_ids))
    warnings += [warning for split, one in found.items() for warning in tree_warnings(one, split, places[split])]
    for split, own in labels.items():
        warnings += link_warnings(split, places[split], [label.page_id for label in own], links)
        labels[split] = [label._replace(page_id=links.get(label.page_id, label.page_id)) for label in own]
    return Listed(labels, names, warnings + alike(names), links=links)


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders in `folder` that are named like splits, if one is named like `train`; else none.

    Raises:
        UserError: two of them are the same split.
    """
    found: dict[str, Path] = {}
    for child in sorted(folder.iterdir()):
        split = SPLIT_OF.get(child.name.lower())
        if split is not None and child.is_dir():
            if split in found:
                raise UserError(f"{child}: {split} is {found[split]} already; rename one, or give each in data.{split}")
            found[split] = child
    return {split: found[split] for split in SPLITS if split in found} if "train" in found else {}


def _read_files(sources: Sources) -> Listed:
    warnings: list[LabelWarning] = []
    lines: list[Line] = []
    for split, place in sources.places.items():
        shared = sum(other.absolute() == place.absolute() for other in sources.places.values()) > 1
        lines += _read_file(sources, split, place, shared=shared, warnings=warnings)
    lines = _with_one_name(sources.root, lines, warnings)
    labels: dict[str, str] = {}
    for line in lines:
        if line.row.label not in labels:
            labels[line.row.label] = line.where
    known = None if all(map(is_integer, labels)) else known_names(sources.class_names)
    ids, names = ids_of_labels(labels, known)
    by_split: dict[str, list[Label]] = {}
    for line in lines:
        by_split.setdefault(line.split, []).append(Label(line.page_id, ids[line.row.label]))
    return Listed(by_split, names, warnings + alike(names), _groups(lines, sources.group), lines)


def _groups(lines: list[Line], by: str | None) -> dict[str, str]:
    """The group of each page that may be divided; names that differ in Unicode form alone are one group.

    A group by the path is that of the document, however the path is written.
    """
    grouped = [(line, line.row.group) for line in lines if line.row.group and line.split in _DIVIDED]
    plain = composed({group for _, group in grouped})
    found: dict[str, tuple[str, Line]] = {}
    for line, group in grouped:
        own = document_of(line.page_id) if group == line.row.path else plain[group]
        before, first = found.setdefault(line.page_id, (own, line))
        if before != own:
            raise UserError(
                f"data.split.by: {line.page_id} has the {by} {before!r} at {first.where} and {own!r} at {line.where}; "
                "keep one of the lines, or correct them"
            )
    return {page_id: group for page_id, (group, _) in found.items()}


def _read_file(sources: Sources, split: str, place: Path, *, shared: bool, warnings: list[LabelWarning]) -> list[Line]:
    """The lines of one file; of a file with a split column that several splits share, the lines of `split`."""
    notes = Notes()
    text = read_text(place, what="label file", notes=notes)
    if is_table(text, place, sources.columns):
        group = sources.group if split in _DIVIDED else None
        table = parse_table(text, place, sources.columns, group=group, notes=notes)
        rows, has_splits = table.rows, table.has_splits
        if has_splits and (sources.columns is None or sources.columns.split is None):
            # A column `fold` or `set` by its usual name alone may as well hold folds 0 to 4 of a cross-validation.
            needed = split == ALL and sources.group is None
            has_splits = needed or any((row.split or "").strip().lower() in SPLIT_OF for row in rows)
    else:
        rows, has_splits = parse_lines(text, place, notes), False
    if shared and not has_splits:
        raise UserError(f"{place}: is the source of several splits, but has no split column; give data.columns.split")
    root, lines = str(sources.root), []
    for row in rows:
        where = f"{place}:{row.line}"
        own = _split_of(row.split or "", where) if has_splits else split
        if shared and own != split:
            continue
        if split not in (ALL, own):
            raise UserError(f"{where}: the split column says {row.split}, but the file is data.{split}")
        page_id, kinds = canonical(row.path, root, where)
        notes.add(kinds, f"line {row.line}")
        lines.append(Line(row, own, page_id, place))
    warnings += notes.warnings(split, source=str(place))
    return lines


def _split_of(value: str, where: str) -> str:
    split = SPLIT_OF.get(value.strip().lower())
    if split is None:
        raise UserError(f"{where}: the split {value!r} is not train, val or test; correct it or delete the row")
    return split


def _with_one_name(root: Path, lines: list[Line], warnings: list[LabelWarning]) -> list[Line]:
    """`lines` with one page id for each page: as on disk, and of a link to a listed page that page's id."""
    files = file_ids(str(root), list(dict.fromkeys(document_of(line.page_id) for line in lines)))
    lines = _with_disk_spellings(root, lines, files, warnings)
    others = list({document_of(line.page_id): None for line in lines}.keys() - files.keys())
    links = links_among(str(root), [line.page_id for line in lines], files | file_ids(str(root), others))
    if not links:
        return lines
    for split in dict.fromkeys(line.split for line in lines):
        warnings += link_warnings(split, root, [line.page_id for line in lines if line.split == split], links)
    return [line._replace(page_id=links.get(line.page_id, line.page_id)) for line in lines]


def _with_disk_spellings(
    root: Path, lines: list[Line], files: Mapping[str, FileId | None], warnings: list[LabelWarning]
) -> list[Line]:
    """`lines` with the page ids that have another spelling on disk replaced; adds a warning for each split."""
    found = spelled_as_on_disk(str(root), list(dict.fromkeys(line.page_id for line in lines)), files)
    if not found:
        return lines
    for split in dict.fromkeys(line.split for line in lines):
        notes = Notes()
        for line in lines:
            if line.split == split and line.page_id in found:
                notes.add(["other_spelling"], f"{line.where}, {found[line.page_id]}")
        warnings += notes.warnings(split, source=str(root))
    return [line._replace(page_id=found.get(line.page_id, line.page_id)) for line in lines]
