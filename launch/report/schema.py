"""Schema of a run's `metrics.json`, the data of the report; for a job's own files see `launch.run.schema`.

Times are unix seconds, durations seconds, shares 0..1.
"""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from launch.report.confidence.schema import ConfidenceFigures
from launch.run.attempts import Outcome
from launch.run.status import State
from trainer.scoring.schema import EpochRow, JobResult, SplitFigures, StudentFigures


class ModelFigures(TypedDict):
    """One job. result: its `result.json`, empty until the job is done.

    silent_s: seconds since the last sign of life if the job is stale, None otherwise. fold_of: the model that a fold's
    job trains without its fold.
    """

    region: str
    attempts: int
    epochs: list[EpochRow]
    result: JobResult
    state: State
    error: str | None
    silent_s: float | None
    fold_of: NotRequired[str]
    val: NotRequired[SplitFigures]
    test: NotRequired[SplitFigures]


class TimelineRow(TypedDict):
    """One attempt of one job. An attempt that still runs ends at its last sign of life.

    group: slots by host; slots: names of the slots that the attempt occupied.
    """

    job: str
    number: int
    started: float
    ended: float
    outcome: Outcome
    group: Mapping[str, int]
    slots: list[str]
    error: str | None


# `from` is a keyword, so this schema needs the functional form.
TransferRow = TypedDict(
    "TransferRow",
    {
        "job": str,
        "kind": str | None,
        "from": str | None,
        "digest": str | None,
        "matches": bool | None,
        "weights_digest": str | None,
        "epoch": int | None,
    },
)
"""Origin of one job's start weights. matches: whether the source job recorded the same digest, None if unknown.

epoch: of the source job, whose weights were taken; None if there is no such job or its epochs are not known.
"""


class Comparison(TypedDict):
    """McNemar's test of the stack (`first`) and the last holistic model (`second`) on the pages that both have.

    difference: accuracy of first minus second; difference_interval: 95% bootstrap interval.
    """

    first: str
    second: str
    pages: int
    only_first: int
    only_second: int
    difference: float
    difference_interval: list[float]
    p_exact: float
    p_mid: float


class Headline(TypedDict):
    """busy_seconds: time in which at least one job ran."""

    jobs: int
    jobs_done: int
    jobs_failed: list[str]
    busy_seconds: float
    most_jobs_at_once: int


class SplitSize(TypedDict):
    """Pages in one split's shards, and pages that the conversion rejected."""

    pages: int
    rejected: int


class ClassName(TypedDict):
    """A class id and its name; the order of the list is that of the outputs' columns."""

    id: int
    name: str


class RunFigures(TypedDict):
    """Content of `metrics.json`. models: by job name, the stack last. data_set: by split, where shards are readable.

    distilled: None without a finished student. confidence: None until the stack is done, and for a run of a version
    that did not calibrate.
    """

    format: int
    run: str
    written: float
    created: float | None
    command: list[str] | None
    versions: dict[str, str]
    data_set: dict[str, SplitSize]
    classes: list[ClassName]
    models: dict[str, ModelFigures]
    timeline: list[TimelineRow]
    transfers: list[TransferRow]
    comparison: Comparison | None
    distilled: StudentFigures | None
    confidence: ConfidenceFigures | None
    headline: Headline
    warnings: list[str]
