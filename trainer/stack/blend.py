"""Ways to combine the members' outputs that need no network: averages and logistic regression. Pure NumPy."""

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
"""Sum of the member weights before any page is seen: exp(10) is what agreement of all members is worth."""

MEMBER_L2 = 0.1
"""Pull of the member weights to equal shares of `TYPICAL_SCALE`: a tenth of a page's worth of evidence."""


def average(outputs: Floats) -> Array:
    """Mean over the members of float[n, members, C] -> [n, C]."""
    return np.asarray(outputs.astype(np.float64).mean(axis=1))


def weighted(outputs: Floats, weights: Array) -> Array:
    """softmax over classes of the sum of weight x probability over the members -> [n, C]."""
    return softmax(np.einsum("nmc,m->nc", outputs.astype(np.float64), weights))


def fit_member_weights(outputs: Floats, labels: Ints) -> Array:
    """One weight a member, float64[members], that maximises the likelihood of `weighted` on labels int[n].

    So few numbers are found even from two pages a class; a member that does not help gets a weight near zero.
    The objective is convex.
    """
    outputs = outputs.astype(np.float64)
    count, members = outputs.shape[:2]
    start = np.full(members, TYPICAL_SCALE / members)

    def objective(weights: Array) -> tuple[float, Array]:
        loss, residual = _cross_entropy(np.einsum("nmc,m->nc", outputs, weights), labels)
        away = weights - start
        slope = np.einsum("nmc,nc->m", outputs, residual)
        return loss + MEMBER_L2 / 2 * float(away @ away) / count, slope + MEMBER_L2 * away / count

    return minimise(objective, start)


def logistic(inputs: Floats, kernel: Array, bias: Array) -> Array:
    """softmax(inputs · kernel + bias): float[n, features] -> [n, C]."""
    return softmax(inputs.astype(np.float64) @ kernel + bias)


def fit_logistic(inputs: Floats, labels: Ints, *, start: Array, l2: float) -> tuple[Array, Array]:
    """Kernel [features, C] and bias [C] of a multinomial logistic regression on float[n, features].

    Minimises the summed cross-entropy + l2/2 · squared distance of all numbers from `start` (kernel) and
    zero (bias). The bias is pulled too: a class without a validation page would else be ruled out for good.
    """
    padded = np.concatenate([inputs.astype(np.float64), np.ones((len(inputs), 1))], axis=1)
    prior = np.concatenate([start, np.zeros((1, start.shape[1]))])

    def objective(flat: Array) -> tuple[float, Array]:
        loss, residual = _cross_entropy(padded @ flat.reshape(prior.shape), labels)
        away = flat - prior.ravel()
        slope = (padded.T @ residual).ravel() + l2 * away / len(padded)
        return loss + l2 / 2 * float(away @ away) / len(padded), slope

    best = minimise(objective, prior.ravel()).reshape(prior.shape)
    return best[:-1], best[-1]


def as_kernel(weights: Array, classes: int) -> Array:
    """The member weights as a kernel [members · C, C] on the concatenated outputs."""
    return np.concatenate([weight * np.eye(classes) for weight in weights])


def _cross_entropy(logits: Array, labels: Ints) -> tuple[float, Array]:
    """The mean over pages and its gradient with respect to the logits [n, C]."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(shifted).sum(axis=1))
    residual = softmax(logits)
    residual[rows, labels] -= 1
    return float((normaliser - shifted[rows, labels]).mean()), residual / len(labels)


def minimise(objective: Objective, start: Array, *, iterations: int = 300, memory: int = 10) -> Array:
    """The minimum of a smooth convex function (value and gradient) by L-BFGS with backtracking.

    Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4 and 7.5.
    """
    position = start.copy()
    value, slope = objective(position)
    pairs: list[tuple[Array, Array]] = []
    for _ in range(iterations):
        direction = -_two_loops(slope, pairs)
        descent = float(slope @ direction)
        if -descent < 1e-14 * max(1.0, abs(value)):
            break
        moved = _backtrack(objective, position, direction=direction, value=value, descent=descent)
        if moved is None:
            break
        new_position, value, new_slope = moved
        step, change = new_position - position, new_slope - slope
        if step @ change > 1e-14:
            pairs = [*pairs, (step, change)][-memory:]
        position, slope = new_position, new_slope
    return position


def _two_loops(slope: Array, pairs: list[tuple[Array, Array]]) -> Array:
    """The inverse Hessian, as remembered in `pairs`, times the slope."""
    result, shares = slope.copy(), []
    for step, change in reversed(pairs):
        share = float(step @ result) / float(change @ step)
        result -= share * change
        shares.append(share)
    if pairs:
        step, change = pairs[-1]
        result *= float(step @ change) / float(change @ change)
    else:
        result /= max(1.0, float(np.linalg.norm(slope)))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result += step * (share - float(change @ result) / float(change @ step))
    return result


def _backtrack(
    objective: Objective, position: Array, *, direction: Array, value: float, descent: float
) -> tuple[Array, float, Array] | None:
    """The first of 1, 1/2, 1/4, … steps that lowers the value enough (Armijo), or None where none does."""
    length = 1.0
    while length > 1e-12:
        candidate = position + length * direction
        new_value, new_slope = objective(candidate)
        if new_value <= value + 1e-4 * length * descent:
            return candidate, new_value, new_slope
        length /= 2
    return None
