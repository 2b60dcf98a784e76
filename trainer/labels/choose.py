"""Which unlabelled pages to label next: those that the models are unsure about, and that differ from each other."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

CANDIDATES = 20
"""Most uncertain pages, for each page to choose, that are looked at; the others are pages that the models know."""


def uncertainty(probabilities: Floats) -> npt.NDArray[np.float64]:
    """float64 [n], 0 to 1: one minus the lead of the most probable class over the next, of float [n, C]."""
    ordered = np.sort(probabilities.astype(np.float64), axis=1)
    second = ordered[:, -2] if ordered.shape[1] > 1 else 0.0
    return np.clip(1 - (ordered[:, -1] - second), 0, 1)


def choose(
    uncertain: Floats, features: Floats, known: Floats, *, most: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Positions int64 [k] of up to `most` pages in the order of their choice, and their scores float64 [k], 0 to 1.

    uncertain: float [n], 0 to 1; features: float [n, d]; known: float [m, d], of labelled pages. The score of a page is
    its uncertainty times its distance (half of one minus the cosine) to the nearest page that is labelled or chosen
    already; the page with the highest score is next (weighted farthest-first traversal, after Sener and Savarese 2018,
    "Active Learning for Convolutional Neural Networks: A Core-Set Approach"). Of equal scores, the first page counts;
    nothing is random. Scores never rise from one choice to the next, since distances only shrink.
    """
    order = np.argsort(-np.asarray(uncertain), kind="stable")[: max(CANDIDATES * most, 0)]
    order = np.sort(order)
    rows = _unit(features[order])
    distance = _distance(rows, _unit(known)) if len(known) else np.ones(len(rows))
    weight = np.asarray(uncertain, np.float64)[order]
    left = np.ones(len(rows), np.bool_)
    chosen: list[int] = []
    scores: list[float] = []
    for _ in range(min(most, len(rows))):
        score = np.where(left, weight * distance, -1.0)
        place = int(score.argmax())
        chosen.append(int(order[place]))
        scores.append(float(score[place]))
        left[place] = False
        distance = np.minimum(distance, (1 - rows @ rows[place]) / 2)
    return np.array(chosen, np.int64), np.clip(np.array(scores, np.float64), 0, 1)


def _distance(rows: npt.NDArray[np.float64], known: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64 [n]: half of one minus the largest cosine to a known page."""
    parts = [known[first : first + 4096] for first in range(0, len(known), 4096)]
    return np.asarray((1 - np.max([np.max(rows @ part.T, axis=1) for part in parts], axis=0)) / 2)


def _unit(rows: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)
