"""Splits of pages that their ids decide: the leak-free split of the validation set, and the folds of the training set.

No page of a document is ever on two sides of a split.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.labels.page_id import document_of
from data_tools.shards.reader import ShardSet
from trainer.config import Fold, JobConfig


def selection_mask(ids: Iterable[str], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """bool [n]: whether each page is in the `share`, 0 to 1, that selects the best epoch; the stack trains on the rest.

    The hash of seed and document decides, so every job computes the same split in any order of pages, a page keeps its
    side when others are added, and the pages of a document are on one side.
    """
    limit = round(share * 2**64)
    return np.array([_hash(document_of(page_id), seed) < limit for page_id in ids], dtype=np.bool_)


def selected_pages(val: ShardSet, config: JobConfig) -> npt.NDArray[np.bool_]:
    """bool [validation pages]: which of them select the best epoch.

    Raises:
        UserError: all or none of them do.
    """
    if config.selection_share is None:
        return np.ones(len(val), np.bool_)
    mask = selection_mask(val.ids, share=config.selection_share, seed=config.seed)
    if not mask.any() or mask.all():
        raise UserError(
            f"stack.selection_share: {config.selection_share} of {len(val)} validation pages leaves none to select the "
            "best epoch or none to train the stack; set stack.leak_free: false or add validation pages"
        )
    return mask


def fold_of(
    ids: Sequence[str],
    labels: npt.NDArray[np.integer[Any]],
    *,
    folds: int,
    seed: int,
    groups: Iterable[Sequence[str]] = (),
) -> npt.NDArray[np.int64]:
    """int64 [n]: the fold of each page, 0 to `folds` - 1; labels: class indices int [n].

    groups: page ids of duplicates. All pages of a document are in one fold, and so are documents with pages in a common
    group: together they are a unit. The units of each class are dealt out in the order of a hash of seed and path, so a
    class has equally many in all folds, or one more in some. The order of the pages, the region and the number of
    workers do not matter. A unit whose pages have different labels counts for the lowest one.
    """
    units = units_of(ids, groups)
    by_class: dict[int, list[str]] = {}
    for unit, label in class_of_units(units, labels).items():
        by_class.setdefault(label, []).append(unit)
    fold = {
        # Each class begins at another fold; otherwise the first folds would get what is left over of every class.
        unit: (label + place) % folds
        for label, members in by_class.items()
        for place, unit in enumerate(sorted(members, key=lambda name: (_hash(name, seed, b"folds"), name)))
    }
    return np.array([fold[unit] for unit in units], np.int64)


def units_of(ids: Sequence[str], groups: Iterable[Sequence[str]] = ()) -> list[str]:
    """The unit of each page that no split divides, by the first of its documents: see `fold_of`."""
    documents = [document_of(page_id) for page_id in ids]
    known = set(documents)
    first = {document: document for document in known}

    def root(document: str) -> str:
        while first[document] != document:
            first[document] = first[first[document]]
            document = first[document]
        return document

    for group in groups:
        roots = sorted({root(document) for document in map(document_of, group) if document in known})
        first.update(dict.fromkeys(roots[1:], roots[0]) if roots else {})
    return [root(document) for document in documents]


def held_out_pages(
    train: ShardSet, fold: Fold, *, seed: int, groups: Iterable[Sequence[str]] = ()
) -> npt.NDArray[np.bool_]:
    """bool [training pages]: which of them are in `fold`; groups: of duplicates, see `fold_of`.

    Raises:
        UserError: none or all of them are.
    """
    mask = fold_of(train.ids.tolist(), train.labels, folds=fold.of, seed=seed, groups=groups) == fold.number - 1
    if not mask.any() or mask.all():
        raise UserError(
            f"stack.folds: {fold.of} folds of {len(train)} training pages leave fold {fold.number} without a page to "
            "predict or to train on; set fewer folds, or add training pages"
        )
    return mask


def class_of_units(units: Iterable[str], labels: npt.NDArray[np.integer[Any]]) -> dict[str, int]:
    """The class index of each unit, given its name and label for each page: the lowest one if they differ."""
    classes: dict[str, int] = {}
    for unit, label in zip(units, labels.tolist(), strict=True):
        classes[unit] = min(label, classes.get(unit, label))
    return classes


def _hash(document: str, seed: int, purpose: bytes = b"val split") -> int:
    """A pseudo-random integer in [0, 2**64)."""
    digest = hashlib.blake2b(f"{seed}:{document}".encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big")
