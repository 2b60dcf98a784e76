"""Folder trees: one folder of pages for each class."""

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data_tools.errors import UserError
from data_tools.labels.classes.names import is_integer
from data_tools.labels.label import PAGE_SUFFIXES, Label, LabelWarning
from data_tools.labels.spelling import composed
from data_tools.plain_text import is_printable, printable

_NAMED = 5
"""Files that a report names."""
_INT32 = range(-(2**31), 2**31)
_NO_CLASS = ", not in a class folder"


@dataclass
class ClassFolders:
    """What one folder of class folders holds: page ids by class, and what is no page.

    passed_over: paths relative to the folder, by kind (a suffix, `hidden`, ...). links: linked folders that are not
    read, with the reason. folders: the paths in `passed_over` that are folders. through_links: whether any page has
    its id by a link.
    """

    pages: dict[str, list[str]] = field(default_factory=dict)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    through_links: bool = False

    def pass_over(self, entry: os.DirEntry[str], path: str, *, where: str = "") -> None:
        """Record a file that is no page, or a folder that is not read."""
        folder = _is_folder(entry)
        suffix = "folder" if folder else Path(entry.name).suffix.lower()
        kind = "hidden" if entry.name.startswith(".") else suffix or "no suffix"
        self.passed_over.setdefault(kind + where, []).append(path)
        if folder:
            self.folders.add(path)


def scan_beside(folder: Path, splits: Collection[str]) -> ClassFolders:
    """What `folder` holds beside the folders of the splits, whose names are given."""
    found = ClassFolders()
    for entry in _entries(folder):
        if entry.name not in splits:
            found.pass_over(entry, entry.name)
    return found


def scan(root: Path, folder: Path, *, follow_outside: bool = False) -> ClassFolders:
    """List the pages of the class folders in `folder`; their ids are paths relative to `root`.

    Sub-folders of a class folder belong to the class. Linked folders inside `root` are read once for each class unless
    another class folder holds them, those that lead out of `root` only with `follow_outside`.

    Raises:
        UserError: the folder is missing, cannot be listed, or lies outside `root`, or a page's name cannot be printed.
    """
    try:
        prefix = folder.absolute().relative_to(root.absolute())
    except ValueError:
        raise UserError(
            f"{folder}: lies outside the data root {root}; move it inside, since page ids are relative to the root"
        ) from None
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pages")
    scanner = _Scanner(folder, PurePosixPath(prefix), os.path.realpath(root), follow_outside)
    scanner.read_classes()
    return scanner.found


class _Scanner:
    """Fills `found` from the class folders in `folder`."""

    def __init__(self, folder: Path, prefix: PurePosixPath, root: str, follow_outside: bool) -> None:
        self._folder, self._prefix, self._follow_outside = folder, prefix, follow_outside
        self._inside = root.rstrip(os.sep) + os.sep
        self._real = os.path.realpath(folder)
        self._classes: set[str] = set()  # Real paths of the class folders.
        self.found = ClassFolders(through_links=self._real != os.path.normpath(f"{self._inside}{prefix}"))

    def read_classes(self) -> None:
        """Read all class folders, and record what lies beside them."""
        entries = _entries(self._folder)
        folders = {entry.name: entry for entry in entries if _is_folder(entry) and not entry.name.startswith(".")}
        self._classes |= {f"{self._real}/{name}" for name, entry in folders.items() if not entry.is_symlink()}
        for entry in entries:
            if entry.name not in folders:
                self.found.pass_over(entry, entry.name, where=_NO_CLASS)
        # All class folders are known before a link in one of them is followed, whatever their order.
        read = [
            name for name, entry in folders.items() if not entry.is_symlink() or self._may_read(name, self._classes)
        ]
        for name in read:
            self._read_class(name)

    def _read_class(self, folder: str) -> None:
        """Read a class folder: its own tree first, then what links in it lead to."""
        pages: list[str] = []
        waiting, seen = [(folder, False)], set(self._classes)
        while waiting:
            name, linked = waiting.pop(0)
            if linked and not self._may_read(name, seen):
                continue
            seen.add(os.path.realpath(self._folder / name))
            folders = self._read_folder(name, pages)
            plain = [(sub, False) for sub, is_link in folders if not is_link]
            waiting = plain + waiting + [(sub, True) for sub, is_link in folders if is_link]
        self.found.pages[folder] = sorted(pages)

    def _read_folder(self, name: str, pages: list[str]) -> list[tuple[str, bool]]:
        """Add the pages in a folder to `pages`; its sub-folders, and whether they are links."""
        folders = []
        for entry in _entries(self._folder / name):
            path = f"{name}/{entry.name}"
            if _is_folder(entry) and not entry.name.startswith("."):
                folders.append((path, entry.is_symlink()))
            elif _is_page(entry):
                pages.append(_checked(str(self._prefix / path), self._folder))
                self.found.through_links |= entry.is_symlink()
            else:
                self.found.pass_over(entry, path)
        return folders

    def _may_read(self, name: str, seen: set[str]) -> bool:
        """Whether a linked folder is read; adds it to `seen`, or to the links that are not read."""
        real = os.path.realpath(self._folder / name)
        if problem := self._refused(real, seen):
            self.found.links.append((name, problem))
            return False
        seen.add(real)
        self.found.through_links = True
        return True

    def _refused(self, real: str, seen: set[str]) -> str | None:
        """Why a linked folder is not read; None if it is."""
        if not self._follow_outside and not (real + os.sep).startswith(self._inside):
            return "leads out of data.root; data.outside_links: follow reads it"
        around = any((known + os.sep).startswith(real.rstrip(os.sep) + os.sep) for known in (*seen, self._real))
        within = any((real + os.sep).startswith(known + os.sep) for known in seen)
        return "leads to a folder that is read already" if around or within else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be listed ({error.strerror}); make it readable") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_page(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in PAGE_SUFFIXES and not entry.name.startswith(".") and not _is_folder(entry)


def _checked(page_id: str, folder: Path) -> str:
    if not is_printable(page_id):
        # Line breaks and surrogates for bytes that are not UTF-8 do not survive in a text file.
        raise UserError(f"{folder}: {page_id!r} is not a printable UTF-8 file name; rename it")
    return page_id


def labels_of_tree(
    found: Mapping[str, ClassFolders], folders: Mapping[str, Path], *, allow_empty: bool
) -> tuple[dict[str, list[Label]], dict[int, str]]:
    """Labels by split, and class names by id; an empty class folder keeps its id.

    If all class folders have integer names, these are the class ids; otherwise a class id is the position of the name
    among the sorted names of all splits.

    Raises:
        UserError: a folder holds no pages, or, without `allow_empty`, a class folder holds none.
    """
    written = {name for one in found.values() for name in one.pages}
    plain = composed(written)
    names = sorted(set(plain.values()))
    numbers = all(is_integer(name) and name.isdecimal() and int(name) in _INT32 for name in names)
    numbers = numbers and len({int(name) for name in names}) == len(names)
    ids = {name: int(name) if numbers else place for place, name in enumerate(names)}
    for split, one in found.items():
        if not any(one.pages.values()):
            links = "".join(f"; the link {name} {problem}" for name, problem in one.links[:_NAMED])
            raise UserError(
                f"{folders[split]}: no pages; expected one folder of pages for each class{printable(links)}"
            )
        _check_empty(one, folders[split], allow_empty=allow_empty)
    labels = {
        split: [Label(page_id, ids[plain[name]]) for name in sorted(one.pages) for page_id in one.pages[name]]
        for split, one in found.items()
    }
    return labels, {ids[name]: name for name in names}


def _check_empty(one: ClassFolders, folder: Path, *, allow_empty: bool) -> None:
    empty = [name for name, pages in sorted(one.pages.items()) if not pages]
    if empty and not allow_empty:
        others = [path for paths in one.passed_over.values() for path in paths if path.startswith(f"{empty[0]}/")]
        holds = f"; it holds {printable(', '.join(sorted(others)[:_NAMED]))}" if others else ""
        more = f" (nor have {', '.join(empty[1:_NAMED])})" if empty[1:] else ""
        raise UserError(
            f"{folder / empty[0]}: the class folder has no page{more}{holds}; add pages, remove the folder, or set "
            "data.allow_empty_classes: true"
        )


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _total(files: int, folders: int) -> str:
    parts = [f"{files} {'file is not a page' if files == 1 else 'files are not pages'}"] if files else []
    parts += [f"{folders} {'folder is' if folders == 1 else 'folders are'} not read"] if folders else []
    return " and ".join(parts)


def tree_warnings(one: ClassFolders, split: str, folder: Path, *, where: str = "") -> list[LabelWarning]:
    """What was passed over in a folder, counted by suffix and the first files named, and links that are not read.

    where: the place in the folder, in words.
    """
    warnings = []
    counts = Counter({kind: len(paths) for kind, paths in one.passed_over.items()})
    if counts:
        kinds = ", ".join(f"{count} {kind}" for kind, count in _by_count(counts))
        paths = sorted(path for paths in one.passed_over.values() for path in paths)
        first = ", ".join(f"{path}/" if path in one.folders else path for path in paths[:_NAMED])
        more = ", ..." if len(paths) > _NAMED else ""
        detail = f"{folder}: {where}{_total(len(paths) - len(one.folders), len(one.folders))} ({kinds}): {first}{more}"
        warnings.append(LabelWarning("passed_over", split, None, printable(detail), len(paths)))
    for name, problem in one.links[:_NAMED]:
        warnings.append(LabelWarning("link_not_read", split, None, printable(f"{folder / name}: the link {problem}")))
    if len(one.links) > _NAMED:
        rest = len(one.links) - _NAMED
        warnings.append(LabelWarning("link_not_read", split, None, f"{folder}: {rest} more links are not read", rest))
    return warnings
