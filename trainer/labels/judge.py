"""Out-of-sample probabilities from features: a regression that has not seen the page, fitted once for each fold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.labels.features import Features
from trainer.stack.blend import fit_logistic, logistic

Ints = npt.NDArray[np.integer[Any]]

FOLDS = 5
L2 = 100.0
"""Strength of the regression on features of mean square 1, for any number of pages (a prior of variance 1 / L2)."""
FIT_PAGES = 20_000
"""Pages, at most, that one regression is fitted on; more do not help so few parameters, and take minutes."""
CHUNK = 4096


def cross_fitted(
    features: Features, labels: Ints, folds: Ints, *, classes: int, on_fold: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.float32]:
    """Probabilities float32 [n, C] of each page, from a multinomial regression on the pages of the other folds.

    features: float32 [n, d]; labels: class indices int [n]; folds: int [n], all pages of a document in one. A single
    fold cannot be left out: its pages then get the shares of the classes. on_fold: called after each fold.
    """
    found = np.zeros((len(labels), classes), np.float32)
    for done, fold in enumerate(np.unique(folds), start=1):
        here = folds == fold
        rest = np.flatnonzero(~here)
        chosen = rest[np.unique(np.linspace(0, len(rest) - 1, min(len(rest), FIT_PAGES)).astype(np.int64))]
        if len(chosen):
            start = np.zeros((features.shape[1], classes))
            kernel, bias = fit_logistic(features[chosen], labels[chosen], start=start, l2=L2)
            found[here] = _predicted(features[here], kernel, bias)
        else:
            found[here] = np.bincount(labels, minlength=classes) / len(labels)
        on_fold(done)
    return found


def _predicted(
    features: Features, kernel: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    parts = range(0, len(features), CHUNK)
    return np.concatenate([logistic(features[first : first + CHUNK], kernel, bias) for first in parts])


def nearest(
    queries: Features, known: Features, *, count: int, excluded: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The known pages that are nearest to each query by cosine: positions int64 [q, count], similarities [q, count].

    queries: float32 [q, d]; known: float32 [m, d]. excluded: int64 [q], a known page that is the query itself, -1
    without. Fewer columns if there are fewer known pages.
    """
    count = max(min(count, len(known) - 1), 0)
    places, values = np.zeros((len(queries), count), np.int64), np.zeros((len(queries), count), np.float32)
    unit = _unit(known)
    for first in range(0, len(queries), BLOCK):
        part = slice(first, first + BLOCK)
        similar = _unit(queries[part]) @ unit.T
        own = np.flatnonzero(excluded[part] >= 0)
        similar[own, excluded[part][own]] = -np.inf
        order = np.argsort(-similar, axis=1, kind="stable")[:, :count]
        places[part], values[part] = order, np.take_along_axis(similar, order, axis=1)
    return places, values


BLOCK = 256
"""Queries that are compared with all known pages at once."""


def _unit(rows: Features) -> Features:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
