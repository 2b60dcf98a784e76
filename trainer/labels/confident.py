"""Confident learning: scores of single labels, and how many labels of each class belong to which other one.

After Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021),
arXiv 1911.00068. All functions are pure. The probabilities must be out of sample: outputs of models that did not learn
from the label of the page, since a model that did agrees with a wrong label, too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]

NONE = -1
"""In place of a likely class: the page is confidently of no class."""
RESAMPLES = 2000
"""Bootstrap samples for the interval of the share of wrong labels."""


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """Estimate of the label noise of a set of pages.

    joint: float64 [C, C], estimated pages by given and likely class; rows sum to the pages with that label.
    share: estimated share of wrong labels, 0 to 1; interval: 95 %, of sampling alone.
    suspects: bool [n], pages that are confidently of another class than their label.
    """

    joint: npt.NDArray[np.float64]
    share: float
    interval: tuple[float, float]
    suspects: Bools


def class_thresholds(probabilities: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """Mean probability of each class over the pages with its label, float64 [C]; infinite without such a page.

    probabilities: float [n, C]; labels: int [n]. A class that the model is unsure about gets a lower threshold, so
    that differences of confidence between classes do not count as errors (equation 2 of the paper).
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    sums = np.bincount(labels, weights=own, minlength=classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def confident_classes(probabilities: Floats, thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The most probable class of each page among those above their threshold, int64 [n]; NONE if there is none."""
    above = probabilities >= thresholds
    return np.where(above.any(axis=1), np.where(above, probabilities, -1.0).argmax(axis=1), NONE)


def label_noise(probabilities: Floats, labels: Ints, *, seed: int = 1) -> LabelNoise:
    """Estimate how many labels of each class are wrong, from out-of-sample probabilities float [n, C].

    Counts pages by label and confident class, and scales each row to the pages with that label (the calibrated joint,
    equation 3 of the paper). The interval is a percentile bootstrap over pages with fixed thresholds: it holds what
    another sample of pages would change, and not what another model would.
    """
    classes = probabilities.shape[1]
    confident = confident_classes(probabilities, class_thresholds(probabilities, labels))
    # The column of pages that are confidently of no class is the last one.
    cells = np.zeros((classes, classes + 1), np.int64)
    np.add.at(cells, (labels, np.where(confident == NONE, classes, confident)), 1)
    joint = _joint(cells[None])[0]
    share, interval = 0.0, (0.0, 0.0)
    if len(labels):
        share = _wrong(joint[None])[0]
        drawn = np.random.default_rng(seed).multinomial(len(labels), cells.ravel() / len(labels), size=RESAMPLES)
        low, high = np.quantile(_wrong(_joint(drawn.reshape(-1, *cells.shape))), (0.025, 0.975))
        interval = (float(low), float(high))
    return LabelNoise(joint, float(share), interval, (confident != NONE) & (confident != labels))


def _joint(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """int64 [k, C, C + 1] -> float64 [k, C, C]; a label without a confident page counts as right."""
    confident = cells[:, :, :-1].astype(np.float64)
    sums = confident.sum(axis=2, keepdims=True)
    shares = np.where(sums > 0, confident / np.maximum(sums, 1), np.eye(cells.shape[1]))
    return np.asarray(shares * cells.sum(axis=2, keepdims=True))


def _wrong(joint: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of pages off the diagonal, float64 [k]."""
    total = joint.sum(axis=(1, 2))
    return np.asarray(1 - np.trace(joint, axis1=1, axis2=2) / np.maximum(total, 1e-12))


def likely_classes(probabilities: Floats) -> npt.NDArray[np.int64]:
    """The most probable class of each page, int64 [n]."""
    return np.asarray(probabilities.argmax(axis=1), np.int64)


def suspicion(probabilities: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """How suspicious each label is, float64 [n] from 0 to 1: one minus the probability of the label.

    probabilities: float [n, C]; labels: int [n].
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.clip(1 - own, 0, 1)


def ranking_order(scores: Floats, ids: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Positions int64 [n], the highest score first; pages with equal scores by id, so that the order is repeatable."""
    return np.lexsort((ids, -np.asarray(scores)))
