"""The figures of a run as plain data: what `metrics.json` holds and what the report shows."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from launch.report.caveats import caveats
from launch.report.shard_pages import data_set
from launch.run.record import JobRecord, RunRecord
from launch.run.status import read_job_status
from trainer.config import STACK
from trainer.scoring import metrics as scores
from trainer.scoring.predictions import Predictions, read_predictions

FORMAT = 1
SPLITS = ("val", "test")


def figures(record: RunRecord, *, class_names: Mapping[int, str], now: float) -> dict[str, Any]:
    """All figures of the run; `class_names` by class id, `now` in unix seconds."""
    predictions, problems = all_predictions(record)
    class_ids: list[int] = next((rows.class_ids.tolist() for rows in predictions.values()), [])
    status = {name: read_job_status(job, now=now) for name, job in record.jobs.items()}
    models = {
        name: {
            **_job_figures(job),
            "state": status[name].state,
            "error": status[name].error,
            "silent_s": status[name].silent_s if status[name].silent else None,
        }
        | {
            split: scores.summary(rows.labels, rows.softmax, class_ids=class_ids)
            for split in SPLITS
            if (rows := predictions.get((name, split))) is not None
        }
        for name, job in record.jobs.items()
    }
    data: dict[str, Any] = {
        "format": FORMAT,
        "run": record.folder.resolve().name,
        "written": now,
        "created": record.run.get("created"),
        "command": record.run.get("command"),
        "versions": _versions(record),
        "data_set": data_set(record),
        "classes": [{"id": int(i), "name": class_names.get(int(i), f"class {i}")} for i in class_ids],
        "models": models,
        "timeline": timeline(record, now=now),
        "transfers": transfers(record),
        "comparison": _comparison(record, predictions),
    }
    data["headline"] = _headline(data)
    data["warnings"] = [*record.problems, *problems, *caveats(record, data)]
    return plain(data)


def all_predictions(record: RunRecord) -> tuple[dict[tuple[str, str], Predictions], list[str]]:
    """Outputs of every job that has written them, by (job, split), and a line for each damaged file."""
    found, problems = {}, []
    for name, job in record.jobs.items():
        for split in SPLITS:
            path = job.folder / "predictions" / f"{split}.npz"
            try:
                if path.exists():
                    found[name, split] = read_predictions(path)
            except UserError as error:
                problems.append(str(error))
    return found, problems


def final_job(names: Iterable[str], record: RunRecord) -> str | None:
    """Of `names` the job that speaks for the run: the stack, else the last holistic model, else the last."""
    names = list(names)
    holistic = [name for name in names if region_of(record.jobs[name]) == HOLISTIC]
    if STACK in names:
        return STACK
    return (holistic or names)[-1] if names else None


def region_of(job: JobRecord) -> str:
    """The region that a job's model sees; "stack" for the stack."""
    if job.name == STACK:
        return STACK
    default = HOLISTIC if job.name.startswith(HOLISTIC) else job.name
    return str(job.result.get("region", default))


def timeline(record: RunRecord, *, now: float) -> list[dict[str, Any]]:
    """One entry per attempt of every job, by start; an open one ends at its last sign of life."""
    rows = []
    for name, job in record.jobs.items():
        for attempt in job.attempts or _recorded_span(job):
            ended = attempt["ended"] if isinstance(attempt, dict) else attempt.ended
            row = dict(attempt) if isinstance(attempt, dict) else {"job": name, **vars(attempt)}
            if ended is None and job.result:  # the job's own record came before the driver's word of it
                row["outcome"], ended = "done", job.result.get("ended")
            row["ended"] = ended if ended is not None else min(now, job.last_sign_of_life or now)
            rows.append(row)
    return sorted(rows, key=lambda row: float(row["started"]))


def _recorded_span(job: JobRecord) -> list[dict[str, Any]]:
    """The span that the job itself recorded, where no driver wrote events (a stage started by hand)."""
    started, ended = job.result.get("started"), job.result.get("ended")
    if not isinstance(started, int | float) or not isinstance(ended, int | float):
        return []
    return [
        {
            "job": job.name,
            "number": 1,
            "started": started,
            "ended": ended,
            "outcome": "done",
            "group": {},
            "slots": [],
            "wave": None,
            "error": None,
        }
    ]


def transfers(record: RunRecord) -> list[dict[str, Any]]:
    """Where each job's start weights came from; `matches`: whether the source job recorded the same."""
    by_folder = {name: job.result.get("weights_digest") for name, job in record.jobs.items()}
    rows = []
    for name, job in record.jobs.items():
        start = job.result.get("start")
        if not isinstance(start, Mapping):
            continue
        source = str(start.get("from") or "")
        parts = Path(source).parts
        origin = next((other for other in by_folder if other != name and other in parts), None)
        known, digest = by_folder.get(origin or ""), start.get("digest")
        rows.append(
            {
                "job": name,
                "kind": start.get("kind"),
                "from": origin or source or None,
                "digest": digest,
                "matches": digest == known if known and digest else None,
                "weights_digest": job.result.get("weights_digest"),
            }
        )
    return rows


def _job_figures(job: JobRecord) -> dict[str, Any]:
    """What the job recorded about itself, with its learning curve."""
    return {
        "region": region_of(job),
        "attempts": len(job.attempts),
        "epochs": [dict(epoch) for epoch in job.epochs],
        "result": dict(job.result),
    }


def _versions(record: RunRecord) -> dict[str, Any]:
    """Versions by package: the driver's, completed by those that the jobs recorded."""
    versions: dict[str, Any] = {}
    for source in (record.run, *(job.result for job in record.jobs.values())):
        found = source.get("versions")
        for name, version in found.items() if isinstance(found, Mapping) else ():
            versions.setdefault(str(name), version)
    return versions


def _comparison(record: RunRecord, predictions: Mapping[tuple[str, str], Predictions]) -> dict[str, Any] | None:
    """The stack against the last holistic model, on the test pages that both have, joined by page id."""
    holistic = final_job((n for n, split in predictions if split == "test" and n != STACK), record)
    if holistic is None or region_of(record.jobs[holistic]) != HOLISTIC or (STACK, "test") not in predictions:
        return None
    stack, other = predictions[STACK, "test"], predictions[holistic, "test"]
    _, left, right = np.intersect1d(stack.ids, other.ids, assume_unique=True, return_indices=True)
    if len(left) == 0:
        return None
    first = scores.correct(stack.labels[left], stack.softmax[left])
    second = scores.correct(other.labels[right], other.softmax[right])
    return {
        "first": STACK,
        "second": holistic,
        "pages": len(left),
        **vars(scores.paired_test(first, second, seed=1)),
    }


def _headline(data: Mapping[str, Any]) -> dict[str, Any]:
    """The few figures that stand at the top."""
    models = data["models"]
    spans = [(float(row["started"]), float(row["ended"])) for row in data["timeline"]]
    return {
        "jobs": len(models),
        "jobs_done": sum(model["state"] == "done" for model in models.values()),
        "jobs_failed": [name for name, model in models.items() if model["state"] == "failed"],
        "busy_seconds": busy_seconds(spans),
        "most_jobs_at_once": most_at_once(spans),
    }


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of the spans: time in which at least one job ran."""
    total, reach = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """The largest number of spans that overlap in one moment; touching ends do not overlap."""
    moments = sorted((moment, step) for start, end in spans for moment, step in ((start, 1), (end, -1)))
    running = most = 0
    for _, step in moments:
        running += step
        most = max(most, running)
    return most


def plain(value: Any) -> Any:
    """`value` as strict JSON holds it: no tuples, no NaN or infinity (null in their place)."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
