"""Metrics of a classifier's outputs, in NumPy: labels are int[n] (class index), probabilities float[n, C]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.schema import SplitFigures

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

SMALLEST_PROBABILITY = 1e-12
"""Lower bound of a probability before its logarithm: a float32 softmax can contain exact zeros."""

Z_95 = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution: half width of a 95 % interval in standard deviations."""


def correct(labels: Ints, probabilities: Floats) -> npt.NDArray[np.bool_]:
    """bool[n]: whether the most probable class is the label; among equal classes the first one counts."""
    return np.asarray(probabilities.argmax(axis=1) == labels)


def accuracy(labels: Ints, probabilities: Floats) -> float:
    """Share (0..1) of pages whose most probable class is the label."""
    return float(correct(labels, probabilities).mean())


def top_k(labels: Ints, probabilities: Floats, k: int) -> float:
    """Share (0..1) of pages whose label is among the `k` most probable classes; equal classes rank by index."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & before)
    return float((ahead.sum(axis=1) < k).mean())


def log_probabilities(probabilities: Floats) -> npt.NDArray[np.float64]:
    """Natural logarithm in float64, at least that of `SMALLEST_PROBABILITY`; same shape."""
    return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))


def negative_log_likelihood(labels: Ints, probabilities: Floats) -> float:
    """Mean of -ln p(label), in nats."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(-log_probabilities(own).mean())


def expected_calibration_error(labels: Ints, probabilities: Floats, *, bins: int = 15) -> float:
    """Mean gap (0..1) between confidence and accuracy over bins (lower, upper] of equal width, weighted by pages.

    Guo et al. 2017 (arXiv 1706.04599), equation 3, with 15 bins as there.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = correct(labels, probabilities) - confidence
    return float(np.abs(np.bincount(place, weights=gap, minlength=bins)).sum() / len(labels))


def confusion(labels: Ints, probabilities: Floats) -> npt.NDArray[np.int64]:
    """int64[C, C]: number of pages by label (row) and most probable class (column)."""
    classes = probabilities.shape[1]
    cells = labels.astype(np.int64) * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassFigures:
    """One class. A ratio whose denominator is zero is None. count: pages with this label."""

    precision: float | None
    recall: float | None
    f1: float | None
    count: int


def per_class(matrix: npt.NDArray[np.int64]) -> list[ClassFigures]:
    """The figures of each class of a confusion matrix int64[C, C]. F1 = 2·TP / (2·TP + FN + FP)."""

    def ratio(numerator: int, denominator: int) -> float | None:
        return numerator / denominator if denominator else None

    hits, labelled = np.diag(matrix).tolist(), matrix.sum(axis=1).tolist()
    called = matrix.sum(axis=0).tolist()
    return [
        ClassFigures(ratio(hit, call), ratio(hit, label), ratio(2 * hit, label + call), label)
        for hit, label, call in zip(hits, labelled, called, strict=True)
    ]


def balanced_accuracy(matrix: npt.NDArray[np.int64]) -> float:
    """Mean recall (0..1) of the classes that have pages, from a confusion matrix int64[C, C] of at least one page.

    Every class counts alike, however few pages it has: Brodersen et al. 2010 (ICPR, "The balanced accuracy and its
    posterior distribution"), for any number of classes, as scikit-learn computes it.
    """
    recalls = [figures.recall for figures in per_class(matrix) if figures.recall is not None]
    return sum(recalls) / len(recalls)


def macro_f1(matrix: npt.NDArray[np.int64]) -> float:
    """Mean F1 (0..1) of the classes that have pages or are predicted, from a matrix int64[C, C] of at least one page.

    The mean of the F1 scores, not the F1 of mean precision and recall: Opitz and Burst 2019 (arXiv 1911.03347).
    """
    scores = [figures.f1 for figures in per_class(matrix) if figures.f1 is not None]
    return sum(scores) / len(scores)


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927): within [0, 1] and valid for few or extreme counts.

    Raises:
        ValueError: `count` is 0, or `hits` is not in 0..count.
    """
    if not 0 <= hits <= count or count == 0:
        raise ValueError(f"{hits} of {count} is not a proportion")
    share, z2 = hits / count, Z_95 * Z_95
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 / (1 + z2 / count) * (share * (1 - share) / count + z2 / (4 * count * count)) ** 0.5
    # With no hit or only hits the bound is exact; rounding would leave it slightly inside.
    return (center - half if hits else 0.0), (center + half if hits < count else 1.0)


def bootstrap_means(columns: npt.NDArray[Any], *, seed: int, resamples: int = 2000) -> npt.NDArray[np.float64]:
    """float64[resamples, k]: means of the k columns of `columns` [n, k] over resamples of its rows.

    A row is one page with one column per model, so the models are resampled together (paired). A resample is one
    multinomial draw of how often each distinct row occurs: its cost does not depend on the number of pages, and its
    result not on their order.
    """
    rows, counts = np.unique(np.asarray(columns, dtype=np.float64), axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    return np.asarray(drawn @ rows / counts.sum())


def percentile_interval(samples: Floats) -> tuple[float, float]:
    """The central 95 % of bootstrap samples float[k] (Efron's percentile interval)."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same pages: pages that only one predicts right, difference in accuracy, McNemar p-values."""

    only_first: int
    only_second: int
    difference: float
    difference_interval: tuple[float, float]
    p_exact: float
    p_mid: float


def paired_test(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], *, seed: int) -> PairedTest:
    """Compare two models by their correct predictions bool[n] on the same pages; difference: first minus second."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p_exact, p_mid = mcnemar(only_first, only_second)
    means = bootstrap_means(np.stack([first, second], axis=1), seed=seed)
    interval = percentile_interval(means[:, 0] - means[:, 1])
    return PairedTest(
        only_first, only_second, float(first.mean() - second.mean()), interval, p_exact=p_exact, p_mid=p_mid
    )


def mcnemar(only_first: int, only_second: int) -> tuple[float, float]:
    """Two-sided exact and mid-p values from the numbers of pages that only one of two models predicts right.

    McNemar 1947 with the binomial distribution; mid-p as in Fagerland, Lydersen and Laake 2013 (BMC Medical
    Research Methodology 13:91), who recommend it. Computed with integers, so exact for any count.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0, 1.0
    below, term = 0, 1
    for drawn in range(fewer):
        below += term
        term = term * (total - drawn) // (drawn + 1)
    space = 1 << total
    if only_first == only_second:
        return 1.0, (2 * space - term) / (2 * space)
    return 2 * (below + term) / space, (2 * below + term) / space


def summary(labels: Ints, probabilities: Floats, *, class_ids: Sequence[int]) -> SplitFigures:
    """All figures of one model on one split, as plain data: labels int[n] and probabilities float[n, C].

    class_ids: the C class ids in the order of the columns. An empty split has a count of 0 and no other figure.
    """
    count = len(labels)
    if count == 0:
        return {"count": 0}
    matrix = confusion(labels, probabilities)
    hits = int(np.trace(matrix))
    return {
        "count": count,
        "accuracy": hits / count,
        "accuracy_interval": list(wilson_interval(hits, count)),
        "balanced_accuracy": balanced_accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "top_k": {str(k): top_k(labels, probabilities, k) for k in (2, 3, 5) if k < probabilities.shape[1]},
        "loss": negative_log_likelihood(labels, probabilities),
        "calibration_error": expected_calibration_error(labels, probabilities),
        "per_class": [
            {
                "class_id": int(class_id),
                "precision": figures.precision,
                "recall": figures.recall,
                "f1": figures.f1,
                "count": figures.count,
            }
            for class_id, figures in zip(class_ids, per_class(matrix), strict=True)
        ],
        "confusion": matrix.tolist(),
    }
