"""Strict readers of label files, class folders and class names."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_tools.errors import UserError

PAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Suffixes of the page files in a class folder; other files (notes, thumbnail databases) are skipped."""

_LONGEST_PATH = 4096
_INT32 = range(-(2**31), 2**31)


class Label(NamedTuple):
    """One example: a page id, which is the page's path relative to the data root, and a class id."""

    page_id: str
    class_id: int


def read_labels(path: Path) -> list[Label]:
    """Read the lines `path/to/page.tif K` of a label file, in file order; blank lines are skipped.

    Raises:
        UserError: the file is missing, empty or not text, a line is malformed, or a path leaves the data root.
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
        raise UserError(f"{where}: the class id must be an integer, found {number!r}") from None
    if class_id not in _INT32:
        raise UserError(f"{where}: the class id {class_id} does not fit in 32 bits")
    _refuse_escape(page_id, where)
    return Label(page_id, class_id)


def _refuse_escape(page_id: str, where: str) -> None:
    if len(page_id) > _LONGEST_PATH:
        raise UserError(f"{where}: a page path of {len(page_id)} characters; the limit is {_LONGEST_PATH}")
    if page_id.startswith("/") or ".." in PurePosixPath(page_id).parts or "\0" in page_id:
        raise UserError(f"{where}: {page_id!r} leaves the data root; give page paths relative to it, without `..`")


def read_folder_tree(root: Path, folders: Mapping[str, Path]) -> tuple[dict[str, list[Label]], dict[int, str]]:
    """Labels by split, and class names by id, from folders `<split>/<class>/*.tif` inside `root`.

    If all class folders have integer names, these are the class ids; otherwise a class id is the position of the name
    among the sorted names of all splits. Page ids are paths relative to `root`; sub-folders of a class folder belong
    to the class.

    Raises:
        UserError: a folder is missing, lies outside `root`, or holds no pages.
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
            raise UserError(f"{folders[split]}: no pages; expected one folder of pages for each class")
    return labels, {ids[name]: name for name in names}


def _class_folders(root: Path, folder: Path) -> dict[str, list[str]]:
    try:
        prefix = folder.absolute().relative_to(root.absolute())
    except ValueError:
        raise UserError(
            f"{folder}: lies outside the data root {root}; move it inside, since page ids are relative to the root"
        ) from None
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
        # Line breaks and surrogates for bytes that are not UTF-8 do not survive in a text file.
        raise UserError(f"{folder}: {page_id!r} is not a printable UTF-8 file name; rename it")
    return page_id


def read_class_names(path: Path, class_ids: list[int]) -> dict[int, str]:
    """Names of `class_ids` from a file with lines `ID NAME`, or with one name a line.

    Without ids, line i (from 0) names class i if every class id is less than the number of lines. Otherwise line i
    names the i-th smallest class id, and there must be as many lines as classes.

    Raises:
        UserError: the file is missing or unreadable, or a class has no name or two names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such class names file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the class names cannot be read ({error})") from None
    return class_names_from([line.strip() for line in text.split("\n") if line.strip()], class_ids, source=str(path))


def class_names_from(lines: list[str], class_ids: list[int], *, source: str) -> dict[int, str]:
    """Names of `class_ids` from the lines of a class names file, see `read_class_names`.

    Raises:
        UserError: a class has no name or two names; the text begins with `source`.
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
            raise UserError(f"{path}: class {number} has two names; keep one")
        names[int(number)] = name.strip()
    return names


def _in_order(lines: list[str], class_ids: list[int], path: str) -> dict[int, str]:
    if all(0 <= class_id < len(lines) for class_id in class_ids):
        return dict(enumerate(lines))
    if len(lines) == len(class_ids):
        return dict(zip(sorted(class_ids), lines, strict=True))
    raise UserError(
        f"{path}: {len(lines)} names do not match class ids {class_ids[0]} to {class_ids[-1]}; write lines `ID NAME`"
    )
