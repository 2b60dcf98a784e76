"""Combinations of the members' outputs that need no network: averages and logistic regression."""

from collections.abc import Callable
from dataclasses import dataclass
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

LOG_SCALE = 1.0
"""The prior sum of the weights of log-probabilities: that of a geometric mean."""

EPSILON = 1e-4
"""Added to a probability before its logarithm, so that one member's zero cannot veto a class."""

STRENGTHS = (10000.0, 3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""L2 strengths that cross-validation tries, the largest first: each fit begins where the last one ended."""


def average(outputs: Floats) -> Array:
    """Mean over the members of float[n, members, C] -> [n, C]."""
    return np.asarray(outputs.astype(np.float64).mean(axis=1))


def weighted(outputs: Floats, weights: Array) -> Array:
    """softmax over classes of the members' weighted sum: float[n, members, C] and float64[members] -> [n, C]."""
    return softmax(np.einsum("nmc,m->nc", outputs.astype(np.float64), weights))


def log_ratios(outputs: Floats) -> Array:
    """log((p + e) / e) for e = `EPSILON`: log-probabilities, shifted so that none is negative (an MLP clips those)."""
    return np.log1p(outputs.astype(np.float64) / EPSILON)


def fit_member_weights(
    outputs: Floats, labels: Ints, page_weights: Array | None = None, *, scale: float = TYPICAL_SCALE
) -> Array:
    """One weight a member, float64[members], that maximizes the likelihood of `weighted` on labels int[n].

    outputs: float[n, members, C]. page_weights: float64[n] with a mean of 1, None: all alike. scale: prior sum of the
    member weights. Two pages a class are enough to fit so few numbers; a member that does not help gets a weight near
    zero. The objective is convex.
    """
    outputs = outputs.astype(np.float64)
    count, members = outputs.shape[:2]
    start = np.full(members, scale / members)
    l2 = MEMBER_L2 * (TYPICAL_SCALE / scale) ** 2

    def objective(weights: Array) -> tuple[float, Array]:
        loss, residual = _cross_entropy(np.einsum("nmc,m->nc", outputs, weights), labels, page_weights)
        away = weights - start
        slope = np.einsum("nmc,nc->m", outputs, residual)
        return loss + l2 / 2 * float(away @ away) / count, slope + l2 * away / count

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
    best = _Regression.of(inputs, labels, start=start, page_weights=page_weights).minimum(l2)
    return best[:-1], best[-1]


def choose_l2(inputs: Floats, labels: Ints, *, folds: Ints, start: Array, page_weights: Array | None = None) -> float:
    """The strength of `STRENGTHS` for `fit_logistic`, by cross-validation over the folds int[n].

    The largest whose held-out loss is within one standard error of the smallest, so that few pages keep the fit near
    `start` (Hastie, Tibshirani and Friedman 2009, section 7.10). With a single fold: the largest.
    """
    if (folds == folds[0]).all():
        return STRENGTHS[0]
    weights = np.ones(len(labels)) if page_weights is None else page_weights
    losses = np.zeros((len(STRENGTHS), len(labels)))
    for fold in np.unique(folds):
        here = folds == fold
        regression = _Regression.of(inputs[~here], labels[~here], start=start, page_weights=weights[~here])
        near = regression.prior
        for row, l2 in enumerate(STRENGTHS):
            near = regression.minimum(l2, near=near)
            own = logistic(inputs[here], near[:-1], near[-1])[np.arange(here.sum()), labels[here]]
            losses[row, here] = -weights[here] * np.log(np.maximum(own, np.finfo(float).tiny))
    worse = losses - losses[losses.mean(axis=1).argmin()]
    error = worse.std(axis=1, ddof=1) / np.sqrt(len(labels))
    return max(l2 for l2, excess, one in zip(STRENGTHS, worse.mean(axis=1), error, strict=True) if excess <= one)


@dataclass(frozen=True, eq=False)
class _Regression:
    """A multinomial regression: padded inputs float64[n, features + 1]; prior float64[features + 1, C], bias last."""

    padded: Array
    labels: Ints
    prior: Array
    page_weights: Array | None

    @classmethod
    def of(cls, inputs: Floats, labels: Ints, *, start: Array, page_weights: Array | None) -> "_Regression":
        padded = np.concatenate([inputs.astype(np.float64), np.ones((len(inputs), 1))], axis=1)
        return cls(padded, labels, np.concatenate([start, np.zeros((1, start.shape[1]))]), page_weights)

    def minimum(self, l2: float, *, near: Array | None = None) -> Array:
        """Kernel and bias as one array like `prior`; near: a quicker and less exact search from there."""
        count, prior = len(self.padded), self.prior

        def objective(flat: Array) -> tuple[float, Array]:
            loss, residual = _cross_entropy(self.padded @ flat.reshape(prior.shape), self.labels, self.page_weights)
            away = flat - prior.ravel()
            slope = (self.padded.T @ residual).ravel() + l2 * away / count
            return loss + l2 / 2 * float(away @ away) / count, slope

        begin = prior if near is None else near
        return minimum(objective, begin.ravel(), exact=near is None).reshape(prior.shape)


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


def minimum(objective: Objective, start: Array, *, exact: bool = True) -> Array:
    """Minimizer of a smooth convex function, found by L-BFGS; objective: float64[k] -> value and gradient [k].

    exact: to machine precision, instead of a relative change of 1e-7.
    """
    from scipy.optimize import minimize

    limits = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000} if exact else {"ftol": 1e-7, "gtol": 1e-5, "maxiter": 200}
    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B", options=limits).x)
