"""The tables of `regionstack evaluate`: accuracy and calibrated confidence of each model, and the decisions."""

from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from rich.table import Table

from trainer.scoring.decision import Decision, Judged, answering
from trainer.scoring.metrics import (
    accuracy,
    balanced_accuracy,
    confusion,
    correct,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
    wilson_interval,
)

NOT_CALIBRATED = (
    "note: the run has no calibration.json (an earlier version made it), so the probabilities are not calibrated and "
    "pages have no decision"
)


def score_table(title: str, labels: npt.NDArray[np.integer[Any]], judged: Judged) -> Table:
    """One row a model; labels int[n] (class index), n >= 1."""
    table = Table(title=title)
    headings = ("accuracy", "95 % interval", "balanced accuracy", "macro F1", "negative log-likelihood")
    for heading in ("model", *headings, "calibration error"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, softmax in judged.probabilities.items():
        share = accuracy(labels, softmax)
        low, high = wilson_interval(round(share * len(labels)), len(labels))
        loss, matrix = negative_log_likelihood(labels, softmax), confusion(labels, softmax)
        classes = f"{balanced_accuracy(matrix):.2%}", f"{macro_f1(matrix):.2%}"
        gap = f"{expected_calibration_error(labels, softmax):.2%}"
        table.add_row(name, f"{share:.2%}", f"{low:.1%} – {high:.1%}", *classes, f"{loss:.4f}", gap)
    return table


def decision_table(labels: npt.NDArray[np.integer[Any]], judged: Judged) -> Table:
    """One row a decision: its pages, and how many of the answers are right."""
    table = Table(title="decisions")
    for heading in ("decision", "pages", "share", "right", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "decision" else "right")
    decisions, right = (
        np.array(judged.decisions),
        correct(labels, judged.probabilities[answering(judged.probabilities)]),
    )
    for name in get_args(Decision):
        here = decisions == name
        count, hits = int(here.sum()), int((right & here).sum())
        low, high = wilson_interval(hits, count) if count else (0.0, 1.0)
        cells = (f"{hits / count:.1%}", f"{low:.1%} – {high:.1%}") if count else ("–", "–")
        table.add_row(name, str(count), f"{count / len(labels):.1%}", *cells)
    return table
