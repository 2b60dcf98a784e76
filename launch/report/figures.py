"""The figures of a run as plain data: the content of `metrics.json`, which the report presents."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from launch.report.caveats import caveats
from launch.report.confidence.policy import confidence_of
from launch.report.schema import (
    Comparison,
    Headline,
    ModelFigures,
    RunFigures,
    TimelineRow,
)
from launch.report.sections.transfers import transfers
from launch.report.shard_pages import data_set
from launch.run.attempts import Attempt
from launch.run.record import FOLD_JOB, JobRecord, RunRecord
from launch.run.status import JobStatus, read_job_status
from trainer.config import STACK
from trainer.scoring import metrics
from trainer.scoring.documents import summary_with_documents
from trainer.scoring.predictions import Predictions, read_predictions
from trainer.scoring.schema import StudentFigures, StudentResult
from trainer.soft_targets.config import DISTILLED

FORMAT = 1
SPLITS = ("val", "test")

AllPredictions = Mapping[tuple[str, str], Predictions]
"""Stored outputs by (job, split)."""


def figures(
    record: RunRecord, *, class_names: Mapping[int, str], now: float, precision: float | None = None
) -> RunFigures:
    """All figures of the run as strict JSON data; `class_names` by class id, `now` in unix seconds.

    precision: of the thresholds of confidence (None: as the run's policy has it).
    """
    predictions, problems = all_predictions(record)
    test = {name: rows for (name, split), rows in predictions.items() if split == "test"}
    confidence, damaged = confidence_of(record, test, precision=precision)
    class_ids: list[int] = next((rows.class_ids.tolist() for rows in predictions.values()), [])
    models = {
        name: _model_figures(job, read_job_status(job, now=now), predictions=predictions, class_ids=class_ids)
        for name, job in record.jobs.items()
    }
    for name, model in models.items():
        if (member := record.member_of(name)) is not None:
            model["fold_of"] = member
    rows = timeline(record, now=now)
    data: RunFigures = {
        "format": FORMAT,
        "run": record.folder.resolve().name,
        "written": now,
        "created": record.run.get("created"),
        "command": record.run.get("command"),
        "versions": _versions(record),
        "data_set": data_set(record),
        "classes": [{"id": int(i), "name": class_names.get(int(i), f"class {i}")} for i in class_ids],
        "models": models,
        "timeline": rows,
        "transfers": transfers(record),
        "comparison": _comparison(record, predictions),
        "distilled": _distilled(record),
        "confidence": confidence,
        "headline": _headline(models, rows),
        "warnings": [],
    }
    data["warnings"] = [*record.problems, *problems, *damaged, *caveats(record, data)]
    return plain(data)


def all_predictions(record: RunRecord) -> tuple[dict[tuple[str, str], Predictions], list[str]]:
    """The stored outputs by (job, split) but those of the folds' jobs, and a line for each damaged file."""
    found, problems = {}, []
    for name, job in record.jobs.items():
        for split in SPLITS if record.member_of(name) is None else ():
            path = job.folder / "predictions" / f"{split}.npz"
            try:
                if path.exists():
                    found[name, split] = read_predictions(path)
            except UserError as error:
                problems.append(str(error))
    return found, problems


def final_job(names: Iterable[str], record: RunRecord) -> str | None:
    """The job of `names` that represents the run: the stack, or the last holistic model, or the last job."""
    names = list(names)
    if STACK in names:
        return STACK
    # A student is trained after the run, on the answers of its stack.
    names = [name for name in names if name != DISTILLED] or names
    holistic = [name for name in names if region_of(record.jobs[name]) == HOLISTIC]
    return (holistic or names)[-1] if names else None


def region_of(job: JobRecord) -> str:
    """The region that a job's model sees; `stack` for the stack."""
    if job.name == STACK:
        return STACK
    default = HOLISTIC if job.name.startswith(HOLISTIC) else FOLD_JOB.sub(r"\1", job.name)
    return str(job.result.get("region", default))


def timeline(record: RunRecord, *, now: float) -> list[TimelineRow]:
    """One row per attempt of every job, by start time."""
    rows: list[TimelineRow] = []
    for name, job in record.jobs.items():
        for attempt in job.attempts or _recorded_attempt(job):
            outcome, ended = attempt.outcome, attempt.ended
            if ended is None and job.result:  # the job's own record precedes the driver's event
                outcome, ended = "done", job.result.get("ended")
            rows.append(
                {
                    "job": name,
                    "number": attempt.number,
                    "started": attempt.started,
                    "ended": ended if ended is not None else min(now, job.last_sign_of_life or now),
                    "outcome": outcome,
                    "group": attempt.group,
                    "slots": list(attempt.slots),
                    "error": attempt.error,
                }
            )
    return sorted(rows, key=lambda row: float(row["started"]))


def _recorded_attempt(job: JobRecord) -> Sequence[Attempt]:
    """The attempt that the job recorded itself, for a job that was started by hand and has no events."""
    started, ended = job.result.get("started"), job.result.get("ended")
    if not isinstance(started, int | float) or not isinstance(ended, int | float):
        return ()
    return (Attempt(number=1, started=started, ended=ended, outcome="done", group={}, slots=()),)


def _model_figures(
    job: JobRecord, status: JobStatus, *, predictions: AllPredictions, class_ids: Sequence[int]
) -> ModelFigures:
    """The job's own record with its learning curve, its state, and the scores of its stored outputs."""
    model: ModelFigures = {
        "region": region_of(job),
        "attempts": len(job.attempts),
        "epochs": list(job.epochs),
        "result": job.result,
        "state": status.state,
        "error": status.error,
        "silent_s": status.age_s if status.stale else None,
    }
    if (rows := predictions.get((job.name, "val"))) is not None:
        model["val"] = summary_with_documents(rows.ids.tolist(), rows.labels, rows.softmax, class_ids=class_ids)
    if (rows := predictions.get((job.name, "test"))) is not None:
        model["test"] = summary_with_documents(rows.ids.tolist(), rows.labels, rows.softmax, class_ids=class_ids)
    return model


def _versions(record: RunRecord) -> dict[str, str]:
    """Versions by package: the driver's, then those that only jobs recorded."""
    versions: dict[str, str] = {}
    for source in (record.run, *(job.result for job in record.jobs.values())):
        found = source.get("versions")
        for name, version in found.items() if isinstance(found, Mapping) else ():
            versions.setdefault(str(name), str(version))
    return versions


def _comparison(record: RunRecord, predictions: AllPredictions) -> Comparison | None:
    """The stack against the last holistic model, on the test pages of both, joined by page id."""
    holistic = final_job((n for n, split in predictions if split == "test" and n != STACK), record)
    if holistic is None or region_of(record.jobs[holistic]) != HOLISTIC or (STACK, "test") not in predictions:
        return None
    stack, other = predictions[STACK, "test"], predictions[holistic, "test"]
    _, left, right = np.intersect1d(stack.ids, other.ids, assume_unique=True, return_indices=True)
    if len(left) == 0:
        return None
    test = metrics.paired_test(
        metrics.correct(stack.labels[left], stack.softmax[left]),
        metrics.correct(other.labels[right], other.softmax[right]),
        seed=1,
    )
    return {
        "first": STACK,
        "second": holistic,
        "pages": len(left),
        "only_first": test.only_first,
        "only_second": test.only_second,
        "difference": test.difference,
        "difference_interval": list(test.difference_interval),
        "p_exact": test.p_exact,
        "p_mid": test.p_mid,
    }


def _distilled(record: RunRecord) -> StudentFigures | None:
    """What the student's job has measured; None without a finished student."""
    job = record.jobs.get(DISTILLED)
    return None if job is None else cast(StudentResult, job.result).get("distilled")


def _headline(models: Mapping[str, ModelFigures], rows: Sequence[TimelineRow]) -> Headline:
    spans = [(float(row["started"]), float(row["ended"])) for row in rows]
    return {
        "jobs": len(models),
        "jobs_done": sum(model["state"] == "done" for model in models.values()),
        "jobs_failed": [name for name, model in models.items() if model["state"] == "failed"],
        "busy_seconds": busy_seconds(spans),
        "most_jobs_at_once": most_at_once(spans),
    }


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of the spans (start, end): the time in which at least one job ran."""
    total, reach = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """The largest number of spans that overlap at one moment; spans that only touch do not overlap."""
    moments = sorted((moment, step) for start, end in spans for moment, step in ((start, 1), (end, -1)))
    running = most = 0
    for _, step in moments:
        running += step
        most = max(most, running)
    return most


def plain(value: Any) -> Any:
    """`value` as strict JSON data: lists instead of tuples, null instead of NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
