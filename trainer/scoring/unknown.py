"""Scores of how little a page resembles the trained classes, from the models' calibrated outputs; higher: less."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.scoring.metrics import log_probabilities

Floats = npt.NDArray[np.floating[Any]]
Score = Callable[[Floats, Floats], npt.NDArray[np.float64]]


def max_softmax(members: Floats, stack: Floats) -> npt.NDArray[np.float64]:
    """1 - the stack's confidence (Hendrycks and Gimpel 2017): members float[n, M, C], stack float[n, C] -> [n]."""
    del members
    return np.asarray(1 - stack.astype(np.float64).max(axis=1))


def mean_entropy(members: Floats, stack: Floats) -> npt.NDArray[np.float64]:
    """Entropy in nats of the members' mean: each member's own doubt plus their disagreement."""
    del stack
    return entropy(members.astype(np.float64).mean(axis=1))


def disagreement(members: Floats, stack: Floats) -> npt.NDArray[np.float64]:
    """Generalized Jensen-Shannon divergence of the members in nats (Lin 1991): an ensemble's mutual information."""
    return mean_entropy(members, stack) - entropy(members).mean(axis=1)


def pool_energy(members: Floats, stack: Floats) -> npt.NDArray[np.float64]:
    """-ln Σ_c exp(mean over members of ln p_c): the energy (Liu et al. 2020) of the members' logarithmic pool.

    0 where all members agree exactly; unlike the entropy, it ignores a doubt that all share.
    """
    del stack
    return np.asarray(-np.log(np.exp(log_probabilities(members).mean(axis=1)).sum(axis=1)))


def doubt(members: Floats, stack: Floats) -> npt.NDArray[np.float64]:
    """1 - the stack's confidence + 0.3 x the entropy of the members' mean + 0.5 x their disagreement, both in nats.

    Each part misses a kind of page that another one finds: docs/confidence.md has the figures. The weights were chosen
    on the pages of `bench/unknown.py`, so that it is at least as good as max-softmax on drawn and on real ones.
    """
    return max_softmax(members, stack) + 0.3 * mean_entropy(members, stack) + 0.5 * disagreement(members, stack)


def contrast(pages: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Standard deviation of the gray levels of each page, float64[n]: uint8 [n, height, width, channels]."""
    return np.array([page.std(dtype=np.float64) for page in pages], np.float64)


def entropy(probabilities: Floats) -> npt.NDArray[np.float64]:
    """Entropy in nats over the last axis."""
    return np.asarray(-(probabilities * log_probabilities(probabilities)).sum(axis=-1))


SCORES: Mapping[str, Score] = {
    "max_softmax": max_softmax,
    "mean_entropy": mean_entropy,
    "disagreement": disagreement,
    "pool_energy": pool_energy,
    "doubt": doubt,
}

SHIPPED = "doubt"
"""The score that new runs use."""
