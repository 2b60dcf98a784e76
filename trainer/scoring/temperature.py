"""Temperature scaling: one number a model that calibrates its confidence and leaves its predictions unchanged."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.metrics import log_probabilities

Floats = npt.NDArray[np.floating[Any]]

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: without a wrong prediction the optimum is zero, at chance level it is infinity."""


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def fit_temperature(labels: npt.NDArray[np.integer[Any]], probabilities: Floats) -> float:
    """The temperature that minimizes the negative log-likelihood of softmax float[n, C] on labels int[n].

    Guo et al. 2017 (arXiv 1706.04599), section 4.2. The loss is convex in 1/T, so its slope has one root. A root
    outside [`COLDEST`, `HOTTEST`] gives the nearer bound.
    """
    from scipy.optimize import brentq

    logits = log_probabilities(probabilities)
    own = logits[np.arange(len(labels)), labels]

    def slope(log_inverse: float) -> float:
        expected = (softmax(np.exp(log_inverse) * logits) * logits).sum(axis=1)
        return float((expected - own).mean())

    hot, cold = -np.log(HOTTEST), -np.log(COLDEST)
    if slope(hot) >= 0:
        return HOTTEST
    if slope(cold) <= 0:
        return COLDEST
    return float(np.exp(-brentq(slope, hot, cold, xtol=1e-12)))


def at_temperature(probabilities: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """softmax(log p / T): the probabilities, float[n, C], of the same logits at another temperature."""
    return softmax(log_probabilities(probabilities) / temperature)
