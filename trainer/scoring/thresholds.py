"""Thresholds that hold beyond the pages that chose them: of confidence for a precision, of a score for false alarms."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]

RISK = 0.1
"""Probability, over the validation pages, that the precision of the accepted pages is below the wanted one."""

MOST_STARTS = 4


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold of confidence, and the validation pages that it was chosen on.

    value: pages with at least this confidence are accepted; None: no threshold can be certified, none is accepted.
    pages: in total; accepted, errors: pages with at least that confidence, and those of them that are wrong.
    """

    value: float | None
    pages: int
    accepted: int
    errors: int


def precision_threshold(confidence: Floats, right: Flags, *, precision: float, risk: float = RISK) -> Threshold:
    """The lowest threshold of confidence float[n] for which a share of at least `precision` of the pages is right.

    right: bool[n], out-of-sample. Learn-then-Test (Angelopoulos et al. 2021, arXiv 2110.01052, section 4.2): each
    threshold is the hypothesis that the precision is below the wanted one, with the exact binomial tail as p-value (as
    in a Clopper-Pearson bound). Thresholds are tested from the highest to the lowest, and a sequence ends at the first
    that is not rejected. `_starts` such sequences share `risk`, so the answer is wrong with at most that probability.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    errors = np.cumsum(~right[order])
    # A threshold accepts all pages of equal confidence, so only the last page of a tie is one.
    ends = np.flatnonzero(np.append(sorted_confidence[1:] < sorted_confidence[:-1], True)) if len(order) else order
    counts = ends + 1
    starts = _starts(counts, precision=precision, risk=risk)
    lowest = -1
    for start in starts:
        for place in range(max(start, lowest + 1), len(ends)):
            if binomial_tail(int(errors[ends[place]]), int(counts[place]), 1 - precision) > risk / len(starts):
                break
            lowest = place
    if lowest < 0:
        return Threshold(value=None, pages=len(right), accepted=0, errors=0)
    last = ends[lowest]
    value = float(sorted_confidence[last])
    return Threshold(value=value, pages=len(right), accepted=int(counts[lowest]), errors=int(errors[last]))


def fewest_pages(precision: float, risk: float = RISK) -> int:
    """The number of pages from which on a precision can be certified at all: with every one of them right."""
    return math.ceil(math.log(risk) / math.log(precision))


def _starts(counts: npt.NDArray[np.integer[Any]], *, precision: float, risk: float) -> list[int]:
    """Where the sequences start: places in `counts`, the accepted pages of each threshold; by no label."""
    if not len(counts):
        return []
    number = int(np.clip(counts[-1] // (2 * fewest_pages(precision, risk)), 1, MOST_STARTS))
    first, last = fewest_pages(precision, risk / number), int(counts[-1])
    wanted = [first + (last - first) * part / number for part in range(number)]
    places = np.searchsorted(counts, wanted).tolist()
    return [place for place in dict.fromkeys(places) if place < len(counts)] if first <= last else []


def binomial_tail(errors: int, count: int, rate: float) -> float:
    """P(X <= errors) for X of `count` draws that each fail with probability `rate`."""
    from scipy.special import bdtr

    return float(bdtr(errors, count, rate))


def alarm_threshold(scores: Floats, *, false_alarms: float) -> float | None:
    """The threshold that a score of a new page from the same source exceeds with probability of at most `false_alarms`.

    scores: float[n], out-of-sample. The ⌈(n + 1)(1 - false_alarms)⌉-th smallest of them, as in split conformal
    prediction (Vovk et al. 2005; Bates et al. 2023, arXiv 2104.08279); None: too few pages for this rate, no alarm.
    """
    rank = math.ceil(round((len(scores) + 1) * (1 - false_alarms), 9))
    return float(np.sort(scores)[max(rank, 1) - 1]) if rank <= len(scores) else None
