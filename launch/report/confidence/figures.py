"""Figures of a run's policy on its test pages, from the stored outputs."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from launch.report.confidence.schema import (
    CalibrationRow,
    ConfidenceFigures,
    DecisionRow,
    ReviewedRow,
    ThresholdRow,
    UnknownFigures,
)
from trainer.config import STACK
from trainer.scoring.contrast import in_order
from trainer.scoring.decision import Decision, Judged, Policy, judge
from trainer.scoring.metrics import (
    correct,
    expected_calibration_error,
    negative_log_likelihood,
    wilson_interval,
)
from trainer.scoring.predictions import Predictions, join
from trainer.scoring.selective import Reviewed, errors_caught, reliability, risk_coverage
from trainer.scoring.thresholds import Threshold

Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer[Any]]

CURVE_POINTS = 200


def confidence_figures(
    policy: Policy, test: Mapping[str, Predictions], *, contrasts: Mapping[str, float] | None = None
) -> ConfidenceFigures | None:
    """The figures; test: stored outputs on the test pages by model. None if a model of the policy has none yet.

    contrasts: of the test pages, by page id; without those of all pages, none of them counts as blank.

    Raises:
        UserError: the models' outputs are not of the same pages.
    """
    names = (*policy.members, STACK)
    if any(name not in test for name in names) or not len(test[STACK].ids):
        return None
    pages = join([(name, test[name]) for name in names])
    outputs = {name: pages.softmax[:, column] for column, name in enumerate(names)}
    judged = judge(policy, outputs, contrast=in_order(contrasts or {}, pages.ids.tolist()))
    stack = judged.probabilities[STACK]
    right, confidence = correct(pages.labels, stack), stack.max(axis=1)
    return {
        "precision": policy.precision,
        "risk": policy.risk,
        "threshold_per": policy.threshold_per,
        "val_pages": policy.pages,
        "folds": policy.folds,
        "models": {
            name: _calibration(policy.temperatures[name], pages.labels, outputs[name], judged.probabilities[name])
            for name in names
        },
        "thresholds": _threshold_rows(policy, judged, right),
        "decisions": _decision_rows(judged, right),
        "reviewed": [_reviewed(row) for row in errors_caught(confidence, right)],
        "unknown": _unknown(policy, judged),
        "curve": _curve(confidence, right),
        "reliability": {
            "before": _bins(outputs[STACK].max(axis=1), right),
            "after": _bins(confidence, right),
        },
    }


def _calibration(
    temperature: float, labels: Labels, before: npt.NDArray[Any], after: npt.NDArray[Any]
) -> CalibrationRow:
    curve = risk_coverage(after.max(axis=1), correct(labels, after))
    return {
        "temperature": temperature,
        "calibration_error": [expected_calibration_error(labels, softmax) for softmax in (before, after)],
        "loss": [negative_log_likelihood(labels, softmax) for softmax in (before, after)],
        "area": curve.area,
        "least_area": curve.least_area,
    }


def _threshold_rows(policy: Policy, judged: Judged, right: Flags) -> list[ThresholdRow]:
    """The run's threshold, then those of the predicted classes, each on the known test pages that it is for."""
    stack, known = judged.probabilities[STACK], _known(judged)
    confidence, predicted = stack.max(axis=1), stack.argmax(axis=1)
    general = policy.threshold.value if policy.threshold_per == "run" else None

    def row(class_id: int | None, threshold: Threshold, here: Flags) -> ThresholdRow:
        limit = general if threshold.value is None else threshold.value
        accepted = here & (confidence >= (np.inf if limit is None else limit))
        return _threshold_row(class_id, limit, threshold, here=here, scores=_decision_row(accepted, right))

    classes = zip(policy.class_ids, policy.class_thresholds, strict=True)
    return [
        row(None, policy.threshold, known),
        *(row(class_id, own, known & (predicted == column)) for column, (class_id, own) in enumerate(classes)),
    ]


def _threshold_row(
    class_id: int | None, limit: float | None, threshold: Threshold, *, here: Flags, scores: DecisionRow
) -> ThresholdRow:
    """scores: of the accepted test pages, among those in the mask `here`."""
    accuracy, accepted = scores["accuracy"], scores["pages"]
    return {
        "class_id": class_id,
        "threshold": limit,
        "certified": threshold.value is not None,
        "val_pages": threshold.pages,
        "val_accepted": threshold.accepted,
        "val_errors": threshold.errors,
        "test_pages": int(here.sum()),
        "test_accepted": accepted,
        "test_errors": 0 if accuracy is None else accepted - round(accuracy * accepted),
        "precision": accuracy,
        "interval": scores["interval"],
    }


def _known(judged: Judged) -> Flags:
    return np.array(judged.decisions) != "unknown"


def _decision_rows(judged: Judged, right: Flags) -> dict[str, DecisionRow]:
    decisions = np.array(judged.decisions)
    return {name: _decision_row(decisions == name, right) for name in get_args(Decision)}


def _decision_row(here: Flags, right: Flags) -> DecisionRow:
    count, hits = int(here.sum()), int((here & right).sum())
    return {
        "pages": count,
        "share": count / len(here),
        "accuracy": hits / count if count else None,
        "interval": list(wilson_interval(hits, count)) if count else None,
    }


def _reviewed(row: Reviewed) -> ReviewedRow:
    return {"share": row.share, "pages": row.pages, "caught": row.caught, "errors": row.errors,
            "accuracy": row.accuracy}  # fmt: skip


def _unknown(policy: Policy, judged: Judged) -> UnknownFigures:
    alarms = ~_known(judged)
    return {
        "score": policy.unknown_score,
        "threshold": policy.unknown_threshold,
        "wanted_rate": policy.false_alarms,
        "rate": float(alarms.mean()),
        "interval": list(wilson_interval(int(alarms.sum()), len(alarms))),
    }


def _curve(confidence: npt.NDArray[Any], right: Flags) -> list[list[float]]:
    """Coverage and risk at up to `CURVE_POINTS` even coverages, the last of them 1."""
    curve = risk_coverage(confidence, right)
    places = np.unique(np.linspace(0, len(right) - 1, CURVE_POINTS).round().astype(np.int64))
    return [[float(curve.coverage[place]), float(curve.risk[place])] for place in places]


def _bins(confidence: npt.NDArray[Any], right: Flags) -> list[list[float]]:
    bins = reliability(confidence, right)
    rows = zip(bins.confidence.tolist(), bins.accuracy.tolist(), bins.pages.tolist(), strict=True)
    return [list(row) for row in rows if row[2]]
