"""Label files, class folders and class names, read strictly."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_tools.errors import UserError

PAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Files of a class folder that count as pages; others (notes, thumbnails' databases) are passed over."""

_LONGEST_PATH = 4096
_INT32 = range(-(2**31), 2**31)


class Label(NamedTuple):
    """One example: the page's path relative to the data root, which is its id everywhere, and a class id."""

    page_id: str
    class_id: int


def read_labels(path: Path) -> list[Label]:
    """The lines `path/to/page.tif K` of a label file, in file order; blank lines are passed over.

    Raises:
        UserError: the file is missing, empty or not text, a line is malformed, or a path leaves the root.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such label file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the label file cannot be read ({error})") from None
    lines = enumerate(text.split("\n"), start=1)
    labels = [_parse(line.strip(), f"{path}:{number}") for number, line in lines if line.strip()]
    if not labels:
        raise UserError(f"{path}: the label file is empty")
    return labels


def _parse(line: str, where: str) -> Label:
    page_id, space, number = line.rpartition(" ")
    if not space or not page_id.strip():
        raise UserError(f"{where}: expected `path/to/page.tif CLASS_ID`, found {line!r}")
    try:
        class_id = int(number)
    except ValueError:
        raise UserError(f"{where}: the class id must be a whole number, found {number!r}") from None
    if class_id not in _INT32:
        raise UserError(f"{where}: the class id {class_id} does not fit 32 bits")
    _refuse_escape(page_id, where)
    return Label(page_id, class_id)


def _refuse_escape(page_id: str, where: str) -> None:
    if len(page_id) > _LONGEST_PATH:
        raise UserError(f"{where}: a page path of {len(page_id)} characters; {_LONGEST_PATH} are the most")
    if page_id.startswith("/") or ".." in PurePosixPath(page_id).parts or "\0" in page_id:
        raise UserError(f"{where}: {page_id!r} leaves the data root; give page paths relative to it, without `..`")


def read_folder_tree(root: Path, folders: Mapping[str, Path]) -> tuple[dict[str, list[Label]], dict[int, str]]:
    """Labels per split, and class names by id, from folders `<split>/<class>/*.tif` inside `root`.

    A class's id is its folder's name where all names are whole numbers, else its place among the sorted names
    of all splits. Page ids are paths relative to `root`; sub-folders of a class folder belong to the class.

    Raises:
        UserError: a folder is missing, lies outside `root`, or holds no page.
    """
    pages = {split: _class_folders(root, folder) for split, folder in folders.items()}
    names = sorted({name for classes in pages.values() for name in classes})
    numbers = all(name.isascii() and name.isdecimal() and int(name) in _INT32 for name in names)
    numbers = numbers and len({int(name) for name in names}) == len(names)
    ids = {name: int(name) if numbers else place for place, name in enumerate(names)}
    labels = {
        split: [Label(page_id, ids[name]) for name in sorted(classes) for page_id in classes[name]]
        for split, classes in pages.items()
    }
    for split, found in labels.items():
        if not found:
            raise UserError(f"{folders[split]}: no pages; expected folders of pages, one for each class")
    return labels, {ids[name]: name for name in names}


def _class_folders(root: Path, folder: Path) -> dict[str, list[str]]:
    try:
        prefix = folder.absolute().relative_to(root.absolute())
    except ValueError:
        raise UserError(f"{folder}: lies outside the data root {root}; page ids are relative to it") from None
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pages")
    classes = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return {
        child.name: sorted(
            _checked(str(PurePosixPath(prefix, page.relative_to(folder))), folder)
            for page in child.rglob("*")
            if page.suffix.lower() in PAGE_SUFFIXES and not page.name.startswith(".")
        )
        for child in classes
    }


def _checked(page_id: str, folder: Path) -> str:
    if not page_id.isprintable():
        # Line breaks, and the stand-ins for bytes that are not UTF-8: no such name survives in a text file.
        raise UserError(f"{folder}: {page_id!r} is no printable UTF-8 file name; rename it")
    return page_id


def read_class_names(path: Path, class_ids: list[int]) -> dict[int, str]:
    """Names of `class_ids` from a file of lines `ID NAME`, or of names alone in the order of the ids.

    Names alone: line i names id i (counted from 0) where every id is below the number of lines, else the i-th
    smallest id, which then must match the number of lines.

    Raises:
        UserError: the file is missing or unreadable, names a class twice, or leaves one without a name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of class names") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the class names cannot be read ({error})") from None
    return class_names_from([line.strip() for line in text.split("\n") if line.strip()], class_ids, source=str(path))


def class_names_from(lines: list[str], class_ids: list[int], *, source: str) -> dict[int, str]:
    """Names of `class_ids` from lines as `read_class_names` takes them.

    Raises:
        UserError: a class is named twice or has no name; the text begins with `source`.
    """
    names = _numbered(lines, source)
    if names is None:
        names = _in_order(lines, class_ids, source)
    missing = [str(class_id) for class_id in class_ids if class_id not in names]
    if missing:
        raise UserError(f"{source}: no name for class {', '.join(missing)}")
    return {class_id: names[class_id] for class_id in class_ids}


def _numbered(lines: list[str], path: str) -> dict[int, str] | None:
    names: dict[int, str] = {}
    for line in lines:
        number, space, name = line.partition(" ")
        if not space or not number.lstrip("-").isdecimal():
            return None
        if int(number) in names:
            raise UserError(f"{path}: class {number} is named twice")
        names[int(number)] = name.strip()
    return names


def _in_order(lines: list[str], class_ids: list[int], path: str) -> dict[int, str]:
    if all(0 <= class_id < len(lines) for class_id in class_ids):
        return dict(enumerate(lines))
    if len(lines) == len(class_ids):
        return dict(zip(sorted(class_ids), lines, strict=True))
    raise UserError(f"{path}: {len(lines)} names for class ids {class_ids[0]} to {class_ids[-1]}; use lines `ID NAME`")
