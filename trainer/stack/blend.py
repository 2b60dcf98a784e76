"""Combinations of the members' outputs that need no network: averages and logistic regression."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.temperature import softmax

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Objective = Callable[[Array], tuple[float, Array]]

TYPICAL_SCALE = 10.0
"""Prior sum of the member weights: where all members agree, the odds are exp(10)."""

MEMBER_L2 = 0.1
"""L2 strength that pulls the member weights to equal shares of `TYPICAL_SCALE`, relative to one page's loss."""


def average(outputs: Floats) -> Array:
    """Mean over the members of float[n, members, C] -> [n, C]."""
    return np.asarray(outputs.astype(np.float64).mean(axis=1))


def weighted(outputs: Floats, weights: Array) -> Array:
    """softmax over classes of the members' weighted sum: float[n, members, C] and float64[members] -> [n, C]."""
    return softmax(np.einsum("nmc,m->nc", outputs.astype(np.float64), weights))


def fit_member_weights(outputs: Floats, labels: Ints, page_weights: Array | None = None) -> Array:
    """One weight a member, float64[members], that maximizes the likelihood of `weighted` on labels int[n].

    outputs: float[n, members, C]. page_weights: float64[n] with a mean of 1, None: all alike.

    Two pages a class are enough to fit so few numbers; a member that does not help
    gets a weight near zero. The objective is convex.
    """
    outputs = outputs.astype(np.float64)
    count, members = outputs.shape[:2]
    start = np.full(members, TYPICAL_SCALE / members)

    def objective(weights: Array) -> tuple[float, Array]:
        loss, residual = _cross_entropy(np.einsum("nmc,m->nc", outputs, weights), labels, page_weights)
        away = weights - start
        slope = np.einsum("nmc,nc->m", outputs, residual)
        return loss + MEMBER_L2 / 2 * float(away @ away) / count, slope + MEMBER_L2 * away / count

    return minimum(objective, start)


def logistic(inputs: Floats, kernel: Array, bias: Array) -> Array:
    """softmax(inputs · kernel + bias): float[n, features] -> [n, C]."""
    return softmax(inputs.astype(np.float64) @ kernel + bias)


def fit_logistic(
    inputs: Floats, labels: Ints, *, start: Array, l2: float, page_weights: Array | None = None
) -> tuple[Array, Array]:
    """Kernel [features, C] and bias [C] of a multinomial logistic regression on float[n, features].

    Minimizes the summed cross-entropy + l2/2 · squared distance from `start` (kernel) and from zero (bias). The
    bias is regularized too: without that, a class that has no validation page could never be predicted.
    page_weights: as in `fit_member_weights`.
    """
    padded = np.concatenate([inputs.astype(np.float64), np.ones((len(inputs), 1))], axis=1)
    prior = np.concatenate([start, np.zeros((1, start.shape[1]))])

    def objective(flat: Array) -> tuple[float, Array]:
        loss, residual = _cross_entropy(padded @ flat.reshape(prior.shape), labels, page_weights)
        away = flat - prior.ravel()
        slope = (padded.T @ residual).ravel() + l2 * away / len(padded)
        return loss + l2 / 2 * float(away @ away) / len(padded), slope

    best = minimum(objective, prior.ravel()).reshape(prior.shape)
    return best[:-1], best[-1]


def as_kernel(weights: Array, classes: int) -> Array:
    """The member weights as a kernel [members · C, C] on the concatenated outputs."""
    return np.concatenate([weight * np.eye(classes) for weight in weights])


def _cross_entropy(logits: Array, labels: Ints, page_weights: Array | None) -> tuple[float, Array]:
    """Weighted mean cross-entropy over the pages and its gradient with respect to the logits [n, C]."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalizer = np.log(np.exp(shifted).sum(axis=1))
    residual = softmax(logits)
    residual[rows, labels] -= 1
    losses = normalizer - shifted[rows, labels]
    if page_weights is not None:
        losses, residual = losses * page_weights, residual * page_weights[:, None]
    return float(losses.mean()), residual / len(labels)


def minimum(objective: Objective, start: Array) -> Array:
    """Minimizer of a smooth convex function, found by L-BFGS; objective: float64[k] -> value and gradient [k]."""
    from scipy.optimize import minimize

    tight = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options=tight).x)
