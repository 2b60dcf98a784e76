"""Folds of pages for cross-validation, from their ids alone."""

import hashlib

import numpy as np
import numpy.typing as npt

FOLDS = 5


def fold_of(ids: list[str], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """int64[n]: the fold of each page. Each class is dealt out evenly, in the order of a hash of the page id."""
    hashes = [hashlib.blake2b(page_id.encode(), digest_size=8, person=b"folds").digest() for page_id in ids]
    order = sorted(range(len(ids)), key=lambda row: (int(labels[row]), hashes[row], ids[row]))
    folds = np.empty(len(ids), np.int64)
    folds[order] = np.arange(len(ids)) % min(FOLDS, len(ids))
    return folds
