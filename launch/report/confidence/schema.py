"""Schema of `confidence` in a run's `metrics.json`. Shares and probabilities 0..1, losses in nats, test pages."""

from typing import TypedDict


class CalibrationRow(TypedDict):
    """One model before and after temperature scaling. calibration_error: expected, 15 bins. area: AURC, calibrated.

    least_area: the AURC of a perfect order of the same answers.
    """

    temperature: float
    calibration_error: list[float]
    loss: list[float]
    area: float
    least_area: float


class ThresholdRow(TypedDict):
    """A threshold of confidence: class_id None for the run's, otherwise that of pages predicted as the class.

    threshold: None where no page is accepted. certified: whether validation pages of this row certify it; otherwise a
    class has the threshold of the run. val_ and test_: pages, those accepted, and the wrong ones among them; for
    validation, as certified. precision: of the accepted test pages, with its 95 % Wilson interval; None without one.
    """

    class_id: int | None
    threshold: float | None
    certified: bool
    val_pages: int
    val_accepted: int
    val_errors: int
    test_pages: int
    test_accepted: int
    test_errors: int
    precision: float | None
    interval: list[float] | None


class DecisionRow(TypedDict):
    """The pages of one decision. accuracy: share of right answers, interval: 95 % Wilson; both None without pages."""

    pages: int
    share: float
    accuracy: float | None
    interval: list[float] | None


class ReviewedRow(TypedDict):
    """What checking the `share` least confident pages finds: see `trainer.scoring.selective.Reviewed`."""

    share: float
    pages: int
    caught: float
    errors: int
    accuracy: float


class UnknownFigures(TypedDict):
    """The alarm for unknown pages. rate: share of test pages, all of trained classes, that raise it; 95 % interval."""

    score: str
    threshold: float | None
    wanted_rate: float
    rate: float
    interval: list[float]


class ConfidenceFigures(TypedDict):
    """The run's policy, and what it does on the test pages.

    models: by name, the stack last. curve: coverage and risk of the stack. reliability: confidence, accuracy and pages
    of each bin that has pages, of the stack, before and after scaling.
    """

    precision: float
    risk: float
    threshold_per: str
    val_pages: int
    folds: int
    models: dict[str, CalibrationRow]
    thresholds: list[ThresholdRow]
    decisions: dict[str, DecisionRow]
    reviewed: list[ReviewedRow]
    unknown: UnknownFigures
    curve: list[list[float]]
    reliability: dict[str, list[list[float]]]
