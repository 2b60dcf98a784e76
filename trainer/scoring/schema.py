"""Schema of the figures that jobs write: one split, one model, one stack, and a job's `result.json`.

Plain data as JSON holds it. Shares and probabilities lie in 0..1, losses are in nats, times in unix seconds,
durations in seconds. A key that is `NotRequired` is absent where there is nothing to report.
"""

from typing import Literal, NotRequired, TypedDict


class ClassRow(TypedDict):
    """One class on one split. A ratio whose denominator is zero is None."""

    class_id: int
    precision: float | None
    recall: float | None
    f1: float | None
    count: int


class DocumentFigures(TypedDict):
    """One model on the documents of one split, each by its pages' mean log-probability.

    count: documents, those of one page included. several_pages: documents of more pages. several_labels: documents
    whose pages have different labels; they do not count. No accuracy if none counts.
    """

    count: int
    several_pages: int
    several_labels: int
    accuracy: NotRequired[float]
    accuracy_interval: NotRequired[list[float]]


class SplitFigures(TypedDict):
    """One model on one split: the result of `trainer.scoring.metrics.summary`. An empty split has `count` 0 alone.

    accuracy_interval: 95 % Wilson interval. accuracy_bootstrap_interval: 95 % percentile interval, stack only.
    balanced_accuracy: mean recall of the classes that have pages. macro_f1: mean F1 of the classes that have pages or
    are predicted.
    top_k: accuracy among the k most probable classes, by k. confusion[label][prediction]: pages.
    """

    count: int
    accuracy: NotRequired[float]
    accuracy_interval: NotRequired[list[float]]
    accuracy_bootstrap_interval: NotRequired[list[float]]
    balanced_accuracy: NotRequired[float]
    macro_f1: NotRequired[float]
    top_k: NotRequired[dict[str, float]]
    loss: NotRequired[float]
    calibration_error: NotRequired[float]
    per_class: NotRequired[list[ClassRow]]
    confusion: NotRequired[list[list[int]]]
    documents: NotRequired[DocumentFigures]


class CalibratedFigures(TypedDict):
    """Test figures after temperature scaling, and the temperature, which is fitted on validation pages."""

    temperature: float
    loss: float
    calibration_error: float


class ModelScores(TypedDict):
    """One member or one stacking method on both splits."""

    val: SplitFigures
    test: SplitFigures
    calibrated: NotRequired[CalibratedFigures]


class PairedFigures(TypedDict):
    """McNemar's test of the stack and one member (`against`) on the same test pages.

    difference: accuracy of the stack minus that of the member; difference_interval: 95 % bootstrap interval.
    """

    against: str
    pages: int
    only_stack_right: int
    only_other_right: int
    difference: float
    difference_interval: list[float]
    p_exact: float
    p_mid: float


class ContributionFigures(TypedDict):
    """The stack without one member, on the test pages, and the paired test of the complete stack against it.

    difference: accuracy of the stack minus that without the member; difference_interval: 95 % bootstrap interval.
    """

    pages: int
    accuracy_without: float
    loss_without: float
    difference: float
    difference_interval: list[float]
    p_mid: float


class DeduplicatedFigures(TypedDict):
    """Test figures without the `left_out` pages that duplicate a training page; no scores if no page is left."""

    left_out: int
    pages: int
    scores: NotRequired[SplitFigures]
    methods: NotRequired[dict[str, SplitFigures]]
    members_scores: NotRequired[dict[str, SplitFigures]]
    paired_test: NotRequired[PairedFigures]


class StackFigures(TypedDict):
    """Every stacking method and every member side by side; `scores` belongs to the configured method."""

    scores: ModelScores
    methods: dict[str, ModelScores]
    members_scores: dict[str, ModelScores]
    paired_test: PairedFigures
    without_duplicates: NotRequired[DeduplicatedFigures]


class ValidationUse(TypedDict):
    """Pages of the validation set by purpose: best-epoch selection and fitting the stack (with folds, its policy).

    on: whether the two are disjoint; selection_share: share of the pages for selection, None if not disjoint.
    """

    on: bool
    selection_share: float | None
    validation_pages: int
    selected_on: int
    fitted_on: int


# `from` is a keyword, so this schema needs the functional form.
StartRecord = TypedDict(
    "StartRecord",
    {
        "kind": Literal["fresh", "weights", "warm_start"],
        "from": str | None,
        "digest": str | None,
        # A warm start only: the source's checkpoint folder, its file with SHA-256, and the variables left fresh.
        "checkpoint": NotRequired[str],
        "file": NotRequired[str],
        "file_sha256": NotRequired[str],
        "fresh": NotRequired[list[str]],
        # Imported weights only: the original file or `imagenet`, with its SHA-256.
        "source": NotRequired[str],
        "source_sha256": NotRequired[str],
    },
)
"""Origin of a job's start weights: the source job or file (`from`) and the SHA-256 digest of its weights."""


class EpochRow(TypedDict):
    """One line of a job's `metrics.jsonl`; `val_` figures are None if the job has no page to compute them on.

    step: finished steps at the epoch's end. pages_per_s: without the epoch's first step, which may compile, where there
    are others. weights_digest: not in the stack's rows.
    """

    epoch: int
    step: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    pages_per_s: float
    time: float
    weights_digest: NotRequired[str]


class JobResult(TypedDict):
    """Content of `result.json` of any job, as written when the job is done.

    region, stage: `stack` for the stack. parameters: trainable numbers. seconds: duration of the last attempt.
    best_checkpoint: path inside the job's folder.
    """

    job: str
    region: str
    stage: str
    world_size: int
    epochs: int
    best_epoch: int
    best_checkpoint: str
    val_accuracy: float
    val_loss: float
    test_accuracy: float
    test_loss: float
    parameters: int
    weights_digest: str
    start: StartRecord
    attempt: int
    seconds: float
    started: float
    ended: float
    versions: dict[str, str]


class FoldRecord(TypedDict):
    """The fold, from 1, of `of`, that a job did not train on. grouped: whether duplicates are in one fold."""

    number: int
    of: int
    grouped: bool


class TrainingResult(JobResult):
    """`result.json` of a training job. train_seconds: time in training steps, over all attempts.

    fold: None, or the held-out training pages; `train_accuracy` and `train_loss` are then the figures on them.
    """

    train_seconds: float
    selection_share: float | None
    fold: FoldRecord | None
    train_accuracy: NotRequired[float]
    train_loss: NotRequired[float]


class AveragedResult(JobResult):
    """`result.json` of a member that averages the jobs `models`; without best epoch, checkpoint and start."""

    models: list[str]


class OutOfFoldUse(TypedDict):
    """The use of the folds. fitted_on: training pages that the stack is fitted on, each by models that did not see it.

    calibrated_on: validation pages of the temperatures and thresholds. accuracy: out of fold, by member.
    """

    folds: int
    members: Literal["retrained", "average"]
    fitted_on: int
    calibrated_on: int
    accuracy: dict[str, float]


class StackResult(JobResult, StackFigures):
    """`result.json` of the stack. member_weights: by member, of `weighted`. out_of_fold: None without folds.

    contributions: by member; absent in a run of an earlier version.
    """

    members: list[str]
    method: str
    member_weights: dict[str, float]
    leak_free: ValidationUse
    contributions: NotRequired[dict[str, ContributionFigures]]
    out_of_fold: OutOfFoldUse | None


class StudentComparison(TypedDict):
    """McNemar's test of a student and another model (`against`) on the same test pages; see `PairedFigures`."""

    against: str
    pages: int
    only_student_right: int
    only_other_right: int
    difference: float
    difference_interval: list[float]
    p_exact: float
    p_mid: float


class StudentFigures(TypedDict):
    """A student beside the models that it stands in for, on the test pages.

    holistic: the stack's whole-page member. temperature, alpha: of the loss. pages: training pages, `unlabelled` ones
    included. accuracies: of student, whole-page member and stack. kept: share of the stack's gain over the whole-page
    member, None if the stack gains nothing. paired: against the whole-page member, then against the stack.
    """

    holistic: str
    temperature: float
    alpha: float
    pages: int
    unlabelled: int
    calibrated: CalibratedFigures
    accuracies: dict[str, float]
    kept: float | None
    paired: list[StudentComparison]


class StudentResult(TrainingResult):
    """`result.json` of a student."""

    distilled: StudentFigures
