"""The data set that the label files describe: pages and classes of each split, and warnings about the labels."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from data_tools.documents.labels import Label, class_names_from, read_class_names, read_folder_tree, read_labels
from data_tools.documents.page_path import OutsideLinks
from data_tools.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class DataConfig:
    """Location and selection of pages and labels; section `data` of the configuration.

    `train`, `val` and `test` are three label files, or three folders `<split>/<class>/*.tif` inside `root`.
    `class_names` is a file of names, or the names themselves; `labels.read_class_names` describes their order.
    `max_rejected` below 1 is a share of all pages; from 1 on, a number of pages.
    `outside_links`: whether symbolic links that lead out of `root` are refused or followed.
    """

    root: str
    train: str
    val: str
    test: str
    class_names: str | tuple[str, ...] | None = None
    classes: tuple[int, ...] | None = None
    max_per_class: int | None = None
    max_rejected: float = 0.01
    outside_links: OutsideLinks = "refuse"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_rejected < 0:
            raise UserError(f"max_rejected: {self.max_rejected} must not be negative")
        if self.max_per_class is not None and self.max_per_class < 1:
            raise UserError(f"max_per_class: {self.max_per_class} must be at least 1")
        if self.classes is not None and (not self.classes or len(set(self.classes)) < len(self.classes)):
            raise UserError(f"classes: {list(self.classes)} must list at least one class, and each class once")

    def rejects_allowed(self, pages: int) -> int:
        """The number of `pages` that may be rejected."""
        return int(self.max_rejected) if self.max_rejected >= 1 else int(self.max_rejected * pages)


@dataclass(frozen=True)
class LabelWarning:
    """A problem of the labels that is reported and does not stop a conversion.

    `kind` is `duplicate_line`, `in_two_splits` or `class_without_pages`; `detail` is a text for the user.
    """

    kind: str
    split: str
    page_id: str | None
    detail: str


@dataclass(frozen=True)
class DataSet:
    """Labels by split, filtered, capped and without duplicate lines; sorted class ids and their names."""

    labels: dict[str, list[Label]]
    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    label_warnings: tuple[LabelWarning, ...]

    def fingerprint(self, split: str) -> str:
        """Hex SHA-256 of the sorted label lines of `split`; equal for equal sets of examples."""
        lines = sorted(f"{page_id} {class_id}\n" for page_id, class_id in self.labels[split])
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_data_set(data: DataConfig, *, seed: int) -> DataSet:
    """Read, filter and cap the labels that `data` names.

    Raises:
        UserError: labels cannot be read, a page has two classes, or a class has no training pages.
    """
    labels, names = _read_splits(data)
    kept = None if data.classes is None else frozenset(data.classes)
    label_warnings: list[LabelWarning] = []
    for split in SPLITS:
        chosen = [label for label in labels[split] if kept is None or label.class_id in kept]
        labels[split] = _without_duplicates(chosen, split, label_warnings)
    label_warnings.extend(_shared_pages(labels))
    class_ids = tuple(sorted(kept or {label.class_id for split in SPLITS for label in labels[split]}))
    _check_classes(labels, class_ids, label_warnings)
    if data.max_per_class is not None:
        labels["train"] = capped(labels["train"], data.max_per_class, seed)
    if data.class_names is not None:
        names = class_names(data.class_names, list(class_ids))
    return DataSet(
        labels=labels,
        class_ids=class_ids,
        class_names=tuple(names.get(class_id, str(class_id)) for class_id in class_ids),
        label_warnings=tuple(label_warnings),
    )


def class_names(given: str | tuple[str, ...], class_ids: list[int]) -> dict[int, str]:
    """Names of `class_ids` from `data.class_names`: a file, or the names themselves.

    Raises:
        UserError: the file cannot be read, or a class has no name.
    """
    if isinstance(given, str):
        return read_class_names(Path(given), class_ids)
    return class_names_from(list(given), class_ids, source="data.class_names")


def _read_splits(data: DataConfig) -> tuple[dict[str, list[Label]], dict[int, str]]:
    root = Path(data.root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder")
    places = {"train": Path(data.train), "val": Path(data.val), "test": Path(data.test)}
    folders = [split for split, place in places.items() if place.is_dir()]
    if len(folders) == len(places):
        return read_folder_tree(root, places)
    if folders:
        raise UserError(f"data.{folders[0]}: is a folder; give three folders or three label files, not both kinds")
    return {split: read_labels(place) for split, place in places.items()}, {}


def _without_duplicates(labels: list[Label], split: str, warnings: list[LabelWarning]) -> list[Label]:
    classes: dict[str, int] = {}
    for page_id, class_id in labels:
        before = classes.setdefault(page_id, class_id)
        if before != class_id:
            raise UserError(f"data.{split}: {page_id} has two classes, {before} and {class_id}; keep one of the lines")
    lines = Counter(label.page_id for label in labels)
    warnings.extend(
        LabelWarning("duplicate_line", split, page_id, f"{count} lines, used once")
        for page_id, count in lines.items()
        if count > 1
    )
    return list(starmap(Label, classes.items()))


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


def _check_classes(labels: dict[str, list[Label]], class_ids: tuple[int, ...], warnings: list[LabelWarning]) -> None:
    for split in SPLITS:
        counts = Counter(label.class_id for label in labels[split])
        if not counts:
            raise UserError(f"data.{split}: no pages of the classes {', '.join(map(str, class_ids))}")
        empty = [class_id for class_id in class_ids if not counts[class_id]]
        if empty and split == "train":
            raise UserError(f"data.train: class {empty[0]} has no training pages; add pages or remove the class")
        warnings.extend(
            LabelWarning("class_without_pages", split, None, f"class {class_id} has no page in {split}")
            for class_id in empty
        )


def capped(labels: list[Label], max_per_class: int, seed: int) -> list[Label]:
    """At most `max_per_class` labels of each class, chosen by a hash of seed and page id, in their order."""
    by_class: dict[int, list[str]] = {}
    for page_id, class_id in labels:
        by_class.setdefault(class_id, []).append(page_id)
    chosen = {
        page_id
        for pages in by_class.values()
        for page_id in sorted(pages, key=lambda page_id: hashed(page_id, seed, "cap"))[:max_per_class]
    }
    return [label for label in labels if label.page_id in chosen]


def hashed(page_id: str, seed: int, purpose: str) -> tuple[bytes, str]:
    """A sort key that gives a pseudo-random order, different for each seed and purpose."""
    key = f"{purpose}:{seed}:".encode()
    return hashlib.blake2b(key + page_id.encode(), digest_size=8).digest(), page_id
