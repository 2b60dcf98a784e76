"""What labels a folder or a file holds, as settings of section `data`; for `regionstack init`."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.errors import UserError
from data_tools.labels.label import ALL, PAGE_SUFFIXES, SPLITS, Notes, Row
from data_tools.labels.label_file import parse_lines
from data_tools.labels.page_id import canonical, document_of
from data_tools.labels.sources import SPLIT_OF, split_folders
from data_tools.labels.spelling import others_of, same_letters
from data_tools.labels.table import is_table, parse_table
from data_tools.labels.text import read_text
from data_tools.plain_text import printable

_LISTS = frozenset({".txt", ".lst", ".csv", ".tsv", ".tab"})
_LABEL_FOLDERS = ("labels", "annotations", "splits")
_NAME_FILES = ("classes.txt", "class_names.txt", "labels/classes.txt", "labels/class_names.txt")
_TRIED = 25
"""Paths of a list that are looked for below each possible root."""


@dataclass(frozen=True)
class Discovery:
    """kind: what was found, in words. places: label sources by split or `ALL`. divide: whether it gives no splits."""

    kind: str
    root: Path
    places: Mapping[str, Path]
    divide: bool
    class_names: Path | None = None

    @property
    def sources(self) -> dict[str, str]:
        """The settings of section `data` that name the sources."""
        return {"labels" if split == ALL else split: str(place) for split, place in self.places.items()}


def discover(place: Path, *, root: Path | None = None) -> Discovery:
    """Find the labels in a folder, or those of a label file or table; `root`: the data root, None to look for it.

    Raises:
        UserError: there is no such place, or nothing in it looks like labels.
    """
    place = place.absolute()
    if root is not None and not root.is_dir():
        raise UserError(f"--root {root}: no such folder")
    root = None if root is None else root.absolute()
    if place.is_file():
        return _of_file(place, root)
    if not place.is_dir():
        raise UserError(f"{place}: no such file or folder")
    found = _of_splits(place, root) or _of_label_files(place, root) or _of_classes(place, root)
    if found is None:
        names = sorted(path.name for path in place.iterdir())
        raise UserError(
            f"{place}: neither a folder for each split or class, nor label files, nor a table; it holds "
            f"{printable(', '.join(names[:8])) or 'nothing'}{', ...' if names[8:] else ''}. Give the label file itself"
        )
    return found


def _of_splits(folder: Path, root: Path | None) -> Discovery | None:
    splits = split_folders(folder)
    if not splits or not _has_classes(splits["train"]):
        return None
    kind = (
        f"a folder for each split ({', '.join(path.name for path in splits.values())}), in it a folder for each class"
    )
    return Discovery(kind, root or folder, {ALL: folder}, divide=len(splits) < len(SPLITS))


def _of_classes(folder: Path, root: Path | None) -> Discovery | None:
    if not _has_classes(folder):
        return None
    return Discovery("a folder for each class, without splits", root or folder, {ALL: folder}, divide=True)


def _has_classes(folder: Path) -> bool:
    """Whether a folder has sub-folders with pages."""
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    files = (name for child in children for _, _, names in os.walk(child) for name in names)
    return any(Path(name).suffix.lower() in PAGE_SUFFIXES for name in files)


def _of_label_files(folder: Path, root: Path | None) -> Discovery | None:
    for place in [folder, *(folder / name for name in _LABEL_FOLDERS)]:
        files = [path for path in sorted(place.glob("*")) if path.suffix.lower() in _LISTS and path.is_file()]
        splits = {split: path for path in files if (split := SPLIT_OF.get(path.stem.lower()))}
        if "train" in splits:
            places = {split: splits[split] for split in SPLITS if split in splits}
            if len(places) == 1:
                return _of_file(places["train"], root, near=folder)
            rows, _ = _rows(places["train"])
            names = ", ".join(path.name for path in places.values())
            found = _root_of(rows, places["train"], [folder], root)
            return Discovery(f"label files ({names})", found, places, len(places) < len(SPLITS), _names(folder))
        tables = [path for path in files if path.suffix.lower() in (".csv", ".tsv", ".tab")]
        if len(tables) == 1:
            return _of_file(tables[0], root, near=folder)
        if tables:
            raise UserError(f"{place}: several tables ({', '.join(path.name for path in tables)}); give one of them")
    return None


def _of_file(path: Path, root: Path | None, *, near: Path | None = None) -> Discovery:
    rows, has_splits = _rows(path)
    splits = {SPLIT_OF.get((row.split or "").lower()) for row in rows} if has_splits else set()
    divide = not set(SPLITS) <= splits
    kind = "a table" if is_table(read_text(path, what="label file"), path, None) else "a label file"
    kind += f" ({path.name}) {'with' if has_splits else 'without'} a column of splits"
    folder = near or path.parent
    return Discovery(kind, _root_of(rows, path, [folder, path.parent], root), {ALL: path}, divide, _names(folder))


def _rows(path: Path) -> tuple[Sequence[Row], bool]:
    text = read_text(path, what="label file")
    if is_table(text, path, None):
        table = parse_table(text, path, None)
        has_splits = table.has_splits and any((row.split or "").lower() in SPLIT_OF for row in table.rows)
        return table.rows, has_splits
    return parse_lines(text, path, Notes()), False


def _names(folder: Path) -> Path | None:
    return next((folder / name for name in _NAME_FILES if (folder / name).is_file()), None)


def _root_of(rows: Sequence[Row], source: Path, near: Sequence[Path], given: Path | None) -> Path:
    """The folder that the paths of a list are relative to.

    Raises:
        UserError: none of the first paths exists below any folder near the list.
    """
    paths = [row.path for row in rows[:_TRIED]]
    if given is not None:
        return given
    absolute = [path.strip("\"'") for path in paths]
    if all(path.startswith("/") for path in absolute):
        return Path(os.path.commonpath([str(Path(path).parent) for path in absolute]))
    candidates = [folder for start in near for folder in (start, start.parent)]
    children = [child for start in candidates[:2] for child in sorted(start.glob("*")) if child.is_dir()]
    for folder in dict.fromkeys(itertools.chain(candidates, children[:50])):
        if any(_exists(folder, path) for path in paths):
            return folder
    raise UserError(f"{source}: no page is found, such as {paths[0]}; give the folder that holds them with --root")


def _exists(folder: Path, path: str) -> bool:
    try:
        page_id, _ = canonical(path, str(folder), "")
    except UserError:
        return False
    return bool(others_of(folder, document_of(page_id), key=same_letters))
