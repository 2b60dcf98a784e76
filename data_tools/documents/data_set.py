"""The data set that the label files describe: pages and classes of each split, and warnings about the labels."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from data_tools.documents.page_path import OutsideLinks
from data_tools.documents.pages import DPI, HIGHEST_DPI, LOWEST_DPI, Pages
from data_tools.errors import UserError
from data_tools.labels.classes.names import class_names_from, read_class_names
from data_tools.labels.classes.stratified import SplitConfig, divide
from data_tools.labels.classes.weights import ClassWeights, check_weights, weight_of_each
from data_tools.labels.label import ALL, SPLITS, Label, LabelWarning
from data_tools.labels.page_id import split_page_id
from data_tools.labels.sources import Listed, Sources, read_sources
from data_tools.labels.table import ColumnsConfig

__all__ = ["SPLITS", "DataConfig", "DataSet", "LabelWarning", "capped", "class_names", "hashed", "read_data_set"]


@dataclass(frozen=True)
class DataConfig:
    """Location and selection of pages and labels; section `data` of the configuration.

    `train`, `val` and `test` are three label files or tables, or three folders `<split>/<class>/*.tif` inside `root`.
    `labels` is one source for all of them instead: a table with a column of splits, a folder with a folder for each
    split, or, with `split`, a list or a folder of class folders that is divided. docs/labels.md has the details.
    `classes`: ids or names of the classes to keep; None: all.
    `class_names` is a file of names, or the names themselves; `labels.read_class_names` describes their order.
    `max_rejected` below 1 is a share of all pages; from 1 on, a number of pages.
    `outside_links`: whether symbolic links that lead out of `root` are refused or followed.
    `columns`: names of a table's columns; None: those with usual names.
    `split`: how the splits that no source gives are taken from the pages of the others.
    `class_weights`: weights of the classes in the training loss: `balanced`, or numbers by class id or name.
    `allow_empty_classes`: leave out classes without training pages instead of failing; the others keep their ids.
    `pages`: the pages that are read of a document, a PDF or a TIFF file: `first`, `all`, or at most the first N.
    `corrections`: a file of decisions on single labels, which training and evaluation apply to the converted pages;
    `labels.corrections` describes it.
    `pdf_dpi`: resolution at which PDFs are rendered. docs/documents.md has the details of both.
    """

    root: str
    train: str | None = None
    val: str | None = None
    test: str | None = None
    class_names: str | tuple[str, ...] | None = None
    classes: tuple[int | str, ...] | None = None
    max_per_class: int | None = None
    max_rejected: float = 0.01
    outside_links: OutsideLinks = "refuse"
    labels: str | None = None
    columns: ColumnsConfig | None = None
    split: SplitConfig | None = None
    allow_empty_classes: bool = False
    class_weights: ClassWeights | None = None
    pages: Pages = "first"
    pdf_dpi: int = DPI
    corrections: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if isinstance(self.pages, int) and self.pages < 1:
            raise UserError(f"pages: {self.pages} must be first, all, or a number of at least 1")
        if not LOWEST_DPI <= self.pdf_dpi <= HIGHEST_DPI:
            raise UserError(f"pdf_dpi: {self.pdf_dpi} must be {LOWEST_DPI} to {HIGHEST_DPI}")
        if self.max_rejected < 0:
            raise UserError(f"max_rejected: {self.max_rejected} must not be negative")
        if self.max_per_class is not None and self.max_per_class < 1:
            raise UserError(f"max_per_class: {self.max_per_class} must be at least 1")
        if self.classes is not None and (not self.classes or len(set(self.classes)) < len(self.classes)):
            raise UserError(f"classes: {list(self.classes)} must list at least one class, and each class once")

        check_weights(self.class_weights)
        self._check_sources()

    def _check_sources(self) -> None:
        given = [split for split in SPLITS if getattr(self, split) is not None]
        if self.labels is not None and given:
            raise UserError(f"labels, {', '.join(given)}: give one source for all splits, or one for each; not both")
        missing = [split for split in SPLITS if split not in given]
        if self.labels is None and self.split is None and missing:
            raise UserError(
                f"{missing[0]}: no labels are given for {' and '.join(missing)}; give label files or folders, or one "
                "source with data.labels, or divide a list with data.split"
            )
        if self.labels is None and "train" in missing:
            raise UserError("train: is missing; give the list to divide as data.labels or data.train")

    @property
    def sources(self) -> dict[str, str]:
        """Label files or folders by split; by `all` for a source that is not of one split."""
        given = {split: place for split in SPLITS if (place := getattr(self, split)) is not None}
        if self.labels is not None:
            return {ALL: self.labels}
        return {ALL: given["train"]} if list(given) == ["train"] else given

    def rejects_allowed(self, pages: int) -> int:
        """The number of `pages` that may be rejected."""
        return int(self.max_rejected) if self.max_rejected >= 1 else int(self.max_rejected * pages)


@dataclass(frozen=True)
class DataSet:
    """Labels by split, filtered, capped and without duplicate lines; sorted class ids and their names."""

    labels: dict[str, list[Label]]
    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    label_warnings: tuple[LabelWarning, ...]
    allow_empty_classes: bool = False

    def fingerprint(self, split: str) -> str:
        """Hex SHA-256 of the sorted label lines of `split`; equal for equal sets of examples."""
        lines = sorted(f"{page_id} {class_id}\n" for page_id, class_id in self.labels[split])
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_data_set(data: DataConfig, *, seed: int) -> DataSet:
    """Read, filter and cap the labels that `data` names.

    Raises:
        UserError: labels cannot be read, a page has two classes, or a class has no training pages.
    """
    listed = _read_listed(data)
    labels, names, label_warnings = listed.labels, listed.names, listed.warnings
    kept = None if data.classes is None else _ids_of(data.classes, data, listed)
    if kept is not None:
        labels = {split: [label for label in labels[split] if label.class_id in kept] for split in labels}
    _refuse_contradictions(labels, listed)
    labels = {split: _without_duplicates(labels[split], split, label_warnings) for split in labels}
    labels = divide(labels, listed.groups, data.split)
    label_warnings.extend(_shared_pages(labels))
    class_ids = tuple(sorted(kept or {label.class_id for split in SPLITS for label in labels[split]}))
    if data.allow_empty_classes:
        class_ids = _without_empty(labels, class_ids if kept else {*class_ids, *names}, names, label_warnings)
    _check_classes(labels, class_ids, names, label_warnings)
    if data.max_per_class is not None:
        labels["train"] = capped(labels["train"], data.max_per_class, seed)
    if data.class_names is not None:
        names = _renamed(names, class_names(data.class_names, list(class_ids)), label_warnings)
    found = DataSet(
        labels=labels,
        class_ids=class_ids,
        class_names=tuple(names.get(class_id, str(class_id)) for class_id in class_ids),
        label_warnings=tuple(label_warnings),
        allow_empty_classes=data.allow_empty_classes,
    )
    _check_class_weights(found, data)
    return found


def _ids_of(classes: tuple[int | str, ...], data: DataConfig, listed: Listed) -> frozenset[int]:
    """The ids of classes that are given by id or name."""
    if all(isinstance(one, int) for one in classes):
        return frozenset(one for one in classes if isinstance(one, int))
    names = listed.names
    if data.class_names is not None:
        names = class_names(
            data.class_names, sorted({label.class_id for one in listed.labels.values() for label in one})
        )
    ids = {name: class_id for class_id, name in names.items()}
    unknown = [one for one in classes if isinstance(one, str) and one not in ids]
    if unknown:
        raise UserError(
            f"data.classes: no class is named {unknown[0]}; the names: {', '.join(ids) or 'none, only ids'}"
        )
    return frozenset(ids[one] if isinstance(one, str) else one for one in classes)


def _check_class_weights(found: DataSet, data: DataConfig) -> None:
    """Report a weight for a class that does not exist before pages are converted; training applies the weights."""
    if data.class_weights is not None:
        counts = Counter(label.class_id for label in found.labels["train"])
        pages = [counts[class_id] for class_id in found.class_ids]
        weight_of_each(data.class_weights, found.class_ids, found.class_names, pages)


def class_names(given: str | tuple[str, ...], class_ids: list[int]) -> dict[int, str]:
    """Names of `class_ids` from `data.class_names`: a file, or the names themselves.

    Raises:
        UserError: the file cannot be read, or a class has no name.
    """
    if isinstance(given, str):
        return read_class_names(Path(given), class_ids)
    return class_names_from(list(given), class_ids, source="data.class_names")


def _read_listed(data: DataConfig) -> Listed:
    root = Path(data.root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder")
    if not os.access(root, os.X_OK):
        raise UserError(f"data.root: {root}: permission denied; ask its owner for access, or run as a user that has it")
    by = None if data.split is None else data.split.by
    return read_sources(
        Sources(
            root=root,
            places={split: Path(place) for split, place in data.sources.items()},
            columns=data.columns,
            group=by,
            class_names=data.class_names,
            allow_empty=data.allow_empty_classes,
            follow_outside=data.outside_links == "follow",
        )
    )


def _without_empty(
    labels: dict[str, list[Label]], class_ids: Iterable[int], names: Mapping[int, str], warnings: list[LabelWarning]
) -> tuple[int, ...]:
    """The classes with training pages; removes the pages of the others from `labels`."""
    present = {label.class_id for label in labels["train"]}
    for class_id in sorted(class_ids):
        if class_id not in present:
            lost = {split: sum(label.class_id == class_id for label in labels[split]) for split in ("val", "test")}
            warnings.append(
                LabelWarning(
                    "class_left_out", "train", None,
                    f"class {_named(class_id, names)} has no training page and is left out, with {lost['val']} pages "
                    f"in val and {lost['test']} in test",
                )
            )  # fmt: skip
    for split in SPLITS:
        labels[split] = [label for label in labels[split] if label.class_id in present]
    return tuple(class_id for class_id in sorted(class_ids) if class_id in present)


def _renamed(found: Mapping[int, str], given: dict[int, str], warnings: list[LabelWarning]) -> dict[int, str]:
    """The given class names, which replace the found ones; adds a warning if they differ."""
    other = [f"{found[class_id]} is {name}" for class_id, name in given.items() if found.get(class_id, name) != name]
    if other:
        detail = f"data.class_names gives classes other names: {', '.join(other[:5])}{', ...' if other[5:] else ''}"
        warnings.append(LabelWarning("renamed_classes", ALL, None, detail, len(other)))
    return given


def _named(class_id: int, names: Mapping[int, str]) -> str:
    return f"{class_id} ({names[class_id]})" if names.get(class_id, str(class_id)) != str(class_id) else str(class_id)


def _refuse_contradictions(labels: Mapping[str, list[Label]], listed: Listed) -> None:
    """Check that no page has two classes, within a split or in two."""
    first: dict[str, tuple[int, str]] = {}
    for split in (ALL, *SPLITS):
        for page_id, class_id in labels.get(split, []):
            before, earlier = first.setdefault(page_id, (class_id, split))
            if before != class_id:
                raise UserError(
                    f"data.{'labels' if split == ALL else split}: {page_id} has two classes, "
                    f"{_named(before, listed.names)}{'' if earlier == split else f' in {earlier}'} and "
                    f"{_named(class_id, listed.names)}; {listed.remedy(page_id, {earlier, split})}"
                )


def _without_duplicates(labels: list[Label], split: str, warnings: list[LabelWarning]) -> list[Label]:
    lines = Counter(label.page_id for label in labels)
    warnings.extend(
        LabelWarning("duplicate_line", split, page_id, f"{count} lines, used once")
        for page_id, count in lines.items()
        if count > 1
    )
    return list(starmap(Label, dict(labels).items()))


def _shared_pages(labels: dict[str, list[Label]]) -> list[LabelWarning]:
    """A warning for each split after the first that a page is in."""
    first: dict[str, str] = {}
    shared = []
    for split in SPLITS:
        for label in labels[split]:
            earlier = first.setdefault(label.page_id, split)
            if earlier != split:
                shared.append(LabelWarning("in_two_splits", split, label.page_id, f"also in {earlier}; used in both"))
    return shared


def _check_classes(
    labels: dict[str, list[Label]], class_ids: tuple[int, ...], names: Mapping[int, str], warnings: list[LabelWarning]
) -> None:
    for split in SPLITS:
        counts = Counter(label.class_id for label in labels[split])
        if not counts:
            share = "" if split == "train" else f", or take a share of the others with data.split: {{{split}: 0.1}}"
            raise UserError(f"data.{split}: no pages of the classes {', '.join(map(str, class_ids))}; add some{share}")
        empty = [class_id for class_id in class_ids if not counts[class_id]]
        if empty and split == "train":
            name = _named(empty[0], names) + " has no training pages" + _alike(empty[0], names)
            raise UserError(
                f"data.train: class {name}; add some, remove the class, or set data.allow_empty_classes: true"
            )
        warnings.extend(
            LabelWarning("class_without_pages", split, None, f"class {_named(class_id, names)} has no page in {split}")
            for class_id in empty
        )


def _alike(class_id: int, names: Mapping[int, str]) -> str:
    """A remark about a class whose name is another's in upper or lower case."""
    own = names.get(class_id, "")
    others = [name for name in names.values() if name != own and name.casefold() == own.casefold()]
    return f", but {others[0]!r} is a class as well" if others else ""


def capped(labels: list[Label], max_per_class: int, seed: int) -> list[Label]:
    """At most `max_per_class` labels of each class, in their order.

    They are chosen by a hash of seed and document, and the pages of a document by their number.
    """

    def order(page_id: str) -> tuple[tuple[bytes, str], int]:
        document, number = split_page_id(page_id)
        return hashed(document, seed, "cap"), number

    by_class: dict[int, list[str]] = {}
    for page_id, class_id in labels:
        by_class.setdefault(class_id, []).append(page_id)
    chosen = {page_id for pages in by_class.values() for page_id in sorted(pages, key=order)[:max_per_class]}
    return [label for label in labels if label.page_id in chosen]


def hashed(page_id: str, seed: int, purpose: str) -> tuple[bytes, str]:
    """A sort key that gives a pseudo-random order, different for each seed and purpose."""
    key = f"{purpose}:{seed}:".encode()
    return hashlib.blake2b(key + page_id.encode(), digest_size=8).digest(), page_id
