"""Temperature scaling: one number a model that makes its confidence honest without changing its answers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.metrics import log_probabilities

Floats = npt.NDArray[np.floating[Any]]

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: a set without a wrong answer would ask for zero, pure chance for infinity."""


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def fit_temperature(labels: npt.NDArray[np.integer[Any]], probabilities: Floats) -> float:
    """The temperature that minimises the negative log-likelihood of softmax float[n, C] on labels int[n].

    Guo et al. 2017 (arXiv 1706.04599), section 4.2. The loss is convex in 1/T, so its slope has one root,
    which bisection of log(1/T) finds; a root outside [`COLDEST`, `HOTTEST`] gives the nearer bound.
    """
    logits = log_probabilities(probabilities)
    own = logits[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        expected = (softmax(inverse * logits) * logits).sum(axis=1)
        return float((expected - own).mean())

    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(60):
        middle = (low + high) / 2
        if slope(float(np.exp(middle))) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def at_temperature(probabilities: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """softmax(log p / T): the probabilities, float[n, C], of the same logits at another temperature."""
    return softmax(log_probabilities(probabilities) / temperature)
