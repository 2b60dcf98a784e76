"""The test pages about which the final model is most sure, and wrong."""

from dataclasses import dataclass

import numpy as np

from launch.report.samples import ClassShare, top_classes
from trainer.scoring.metrics import correct
from trainer.scoring.predictions import Predictions

MOST = 12


@dataclass(frozen=True)
class Mistake:
    """A test page. label: class index of the true class. top: the most probable classes, best first.

    given: probability of the true class.
    """

    id: str
    label: int
    given: float
    top: list[ClassShare]


def confident_mistakes(rows: Predictions, *, most: int = MOST) -> list[Mistake]:
    """The wrong answers of a model with the highest confidence, highest first; ties in the order of the page ids."""
    confidence = rows.softmax.max(axis=1) if len(rows.ids) else np.zeros(0)
    wrong = np.flatnonzero(~correct(rows.labels, rows.softmax)) if len(rows.ids) else np.zeros(0, np.int64)
    order = sorted(wrong.tolist(), key=lambda place: (-float(confidence[place]), str(rows.ids[place])))
    return [
        Mistake(
            id=str(rows.ids[place]),
            label=int(rows.labels[place]),
            given=float(rows.softmax[place, rows.labels[place]]),
            top=top_classes(rows.softmax[place]),
        )
        for place in order[:most]
    ]
