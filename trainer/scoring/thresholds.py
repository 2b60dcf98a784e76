"""Thresholds that hold beyond the pages that chose them: of confidence for a precision, of a score for false alarms."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]

RISK = 0.1
"""Probability, over the validation pages, that the precision of the accepted pages is below the wanted one."""


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

    def __post_init__(self) -> None:
        if self.value is not None and not 0 <= self.value <= 1:
            raise UserError(f"value: {self.value} is not between 0 and 1")


def precision_threshold(confidence: Floats, right: Flags, *, precision: float, risk: float = RISK) -> Threshold:
    """The lowest threshold of confidence float[n] for which a share of at least `precision` of the pages is right.

    right: bool[n], out-of-sample. Learn-then-Test with a fixed sequence (Angelopoulos et al. 2021, arXiv 2110.01052,
    section 4.2): each threshold is the hypothesis that the precision is below the wanted one, with the exact binomial
    tail as p-value (as in a Clopper-Pearson bound). Thresholds are tested from `_first_tested` to lower ones until one
    is not rejected at level `risk`, so the answer is wrong with at most that probability.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    errors = np.cumsum(~right[order])
    # A threshold accepts all pages of equal confidence, so only the last page of a tie is one.
    ends = np.flatnonzero(np.append(sorted_confidence[1:] < sorted_confidence[:-1], True)) if len(order) else order
    lowest = None
    for end in ends[ends >= _first_tested(sorted_confidence, precision=precision, risk=risk) - 1].tolist():
        if binomial_tail(int(errors[end]), end + 1, 1 - precision) > risk:
            break
        lowest = end
    if lowest is None:
        return Threshold(value=None, pages=len(right), accepted=0, errors=0)
    value = float(sorted_confidence[lowest])
    return Threshold(value=value, pages=len(right), accepted=lowest + 1, errors=int(errors[lowest]))


def fewest_pages(precision: float, risk: float = RISK) -> int:
    """The number of pages from which on a precision can be certified at all: with every one of them right."""
    return math.ceil(math.log(risk) / math.log(precision))


def _first_tested(sorted_confidence: Floats, *, precision: float, risk: float) -> int:
    """How many pages the first tested threshold accepts; the labels have no say in it, or the test would not hold.

    Half of the pages whose mean confidence is the wanted precision. A sequence that starts with fewer ends early by a
    single error, and one that starts with more has less margin. In simulations with calibrated confidences, shares
    from 0.4 to 0.6 accepted the most pages.
    """
    expected = np.cumsum(sorted_confidence, dtype=np.float64) / np.arange(1, len(sorted_confidence) + 1)
    return max(fewest_pages(precision, risk), int((expected >= precision).sum()) // 2)


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
