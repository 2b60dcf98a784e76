"""Folds of pages for cross-validation, from their ids alone."""

import hashlib

import numpy as np
import numpy.typing as npt

from data_tools.labels.page_id import document_of
from trainer.training.split import class_of_units

FOLDS = 5


def fold_of(ids: list[str], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """int64[n]: the fold of each page; all pages of a document are in one.

    The documents of each class are dealt out evenly, in the order of a hash of their path; of a document whose pages
    have different labels, the least counts.
    """
    documents = [document_of(page_id) for page_id in ids]
    classes = class_of_units(documents, labels)
    order = sorted(classes, key=lambda document: (classes[document], _hashed(document), document))
    folds = {document: place % FOLDS for place, document in enumerate(order)}
    return np.array([folds[document] for document in documents], np.int64)


def _hashed(document: str) -> bytes:
    return hashlib.blake2b(document.encode(), digest_size=8, person=b"folds").digest()
