"""Selective prediction: what a model is worth if the pages it is least sure of are left to people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]

REVIEWED_SHARES = (0.01, 0.05, 0.1, 0.2)


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """coverage: share of pages, most confident first, float64[n]; risk: share of wrong answers among them, float64[n].

    area: mean of `risk`, the AURC; 0 is best. least_area: that of an order with all right answers before all wrong
    ones; no confidence can do better with these answers.
    """

    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]
    area: float
    least_area: float


def risk_coverage(confidence: Floats, right: Flags) -> RiskCoverage:
    """The risk-coverage curve of confidence float[n] and right answers bool[n]; n >= 1.

    Geifman and El-Yaniv 2017 (arXiv 1705.08500); the area as in Geifman et al. 2019 (arXiv 1805.08206). Pages of equal
    confidence have no order, so each counts as the mean of its group: the result does not depend on the order of pages.
    """
    count = np.arange(1, len(right) + 1)
    risk = errors_in_order(confidence, right).cumsum() / count
    ideal = np.sort(~right).astype(np.float64).cumsum() / count
    return RiskCoverage(count / len(right), risk, float(risk.mean()), float(ideal.mean()))


def errors_in_order(confidence: Floats, right: Flags) -> npt.NDArray[np.float64]:
    """The expected error of each page, float64[n], most confident first; equal among pages of equal confidence."""
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=~right, minlength=len(sizes)) / sizes
    return np.repeat(share, sizes)


@dataclass(frozen=True)
class Reviewed:
    """What people find who check the `pages` least confident pages, a `share` of all.

    caught: wrong answers among them, not an integer where pages of equal confidence lie on the border. errors: wrong
    answers in total. accuracy: share of right answers after the check, if people make no mistake.
    """

    share: float
    pages: int
    caught: float
    errors: int
    accuracy: float


def errors_caught(confidence: Floats, right: Flags, *, shares: Sequence[float] = REVIEWED_SHARES) -> list[Reviewed]:
    """One row a share of pages that are reviewed, rounded to whole pages, at least one; n >= 1."""
    expected = errors_in_order(confidence, right)[::-1]
    total = int((~right).sum())
    rows = []
    for share in shares:
        pages = max(round(share * len(right)), 1)
        caught = float(round(expected[:pages].sum(), 9))
        rows.append(Reviewed(share, pages, caught, total, 1 - (total - caught) / len(right)))
    return rows


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pages by confidence, in bins (lower, upper] of equal width: mean confidence, share right, pages; [bins] each.

    An empty bin has 0 pages and NaN otherwise.
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    pages: npt.NDArray[np.int64]


def reliability(confidence: Floats, right: Flags, *, bins: int = 15) -> Reliability:
    """The reliability diagram; its mean gap, weighted by pages, is `metrics.expected_calibration_error`."""
    confidence = confidence.astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    pages = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        sure, hits = (np.bincount(place, weights=w, minlength=bins) / pages for w in (confidence, right))
    return Reliability(sure, hits, pages)
