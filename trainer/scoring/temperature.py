"""Temperature scaling: one number a model that calibrates its confidence and leaves its predictions unchanged."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.metrics import log_probabilities

Floats = npt.NDArray[np.floating[Any]]

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: without a wrong prediction the optimum is zero, at chance level it is infinity."""

PRIOR_PAGES = 10.0
"""Weight of the prior on log T: that of as many pages, each with a loss of curvature 1 nat in log T."""

_GRID = np.linspace(-np.log(HOTTEST), -np.log(COLDEST), 41)


def softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def fit_temperature(
    labels: npt.NDArray[np.integer[Any]],
    probabilities: Floats,
    *,
    page_weights: npt.NDArray[np.float64] | None = None,
    prior_pages: float = PRIOR_PAGES,
) -> float:
    """The most probable temperature T of softmax float[n, C] given labels int[n] (class index).

    page_weights: float64[n], how many pages each counts as; None: one.

    Minimizes the summed negative log-likelihood of softmax(log p / T) (Guo et al. 2017, arXiv 1706.04599, section 4.2)
    plus prior_pages / 2 · (log T)²: a Gaussian prior on log T with mean 0 and variance 1 / `prior_pages`. A few pages
    therefore leave T near 1, also if all of them are right or all are wrong, and thousands outvote the prior. Without
    a prior, T is one of the bounds [`COLDEST`, `HOTTEST`] where the likelihood has no minimum between them.
    """
    from scipy.optimize import brentq

    logits = log_probabilities(probabilities)
    own = logits[np.arange(len(labels)), labels]
    weights = np.ones(len(labels)) if page_weights is None else page_weights

    # In s = -log T; the likelihood is convex in exp(s), its sum with the prior need not be: all minima are compared.
    def slope(s: float) -> float:
        scale = np.exp(s)
        expected = (softmax(scale * logits) * logits).sum(axis=1)
        return float(scale * (weights * (expected - own)).sum() + prior_pages * s)

    def objective(s: float) -> float:
        scaled = log_probabilities(softmax(np.exp(s) * logits))
        return float(-(weights * scaled[np.arange(len(labels)), labels]).sum() + prior_pages / 2 * s * s)

    slopes = [slope(s) for s in _GRID]
    found = [
        brentq(slope, _GRID[place], _GRID[place + 1], xtol=1e-12)
        for place in range(len(_GRID) - 1)
        if slopes[place] <= 0 < slopes[place + 1]
    ]
    if slopes[0] >= 0:
        found.append(_GRID[0])
    if slopes[-1] <= 0:
        found.append(_GRID[-1])
    return float(np.exp(-min(found, key=objective)))


def at_temperature(probabilities: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """softmax(log p / T): the probabilities, float[n, C], of the same logits at another temperature."""
    return softmax(log_probabilities(probabilities) / temperature)
