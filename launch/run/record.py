"""A run folder as data: what its files record about every job. Reads nothing outside the folder."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from data_tools.errors import UserError
from data_tools.files import UNFINISHED, read_lines, read_object, read_text
from data_tools.protocol import heartbeat_path
from launch.run.attempts import Attempt, attempts_of
from launch.run.folder import CONFIG, EVENTS, RUN
from launch.run.schema import EventRecord, ProgressRecord, RunInfo
from trainer.config import STACK
from trainer.job_folder.journal import CHECKPOINTS, METRICS, RESULT
from trainer.scoring.schema import EpochRow, JobResult

JOBS = "jobs"
FOLD_JOB = re.compile(r"(.+)_fold([1-9][0-9]*)")
"""Names as `launch.recipe.folds.fold_job` gives them."""


@dataclass(frozen=True)
class JobRecord:
    """All that the run folder holds about one job; mappings and tuples are empty if it holds nothing yet.

    epochs: one row per complete epoch, in order. result: empty until the job is done. error_event: kind of the event
    that `error` came with. retries: number of starts after a failure, over all calls of the command.
    """

    name: str
    folder: Path
    epochs: tuple[EpochRow, ...] = ()
    progress: ProgressRecord = field(default_factory=ProgressRecord)
    result: JobResult = field(default_factory=lambda: cast(JobResult, {}))
    attempts: tuple[Attempt, ...] = ()
    last_event: str | None = None
    error: str | None = None
    error_event: str | None = None
    retries: int = 0

    @property
    def last_sign_of_life(self) -> float | None:
        """Unix seconds of the newest record that the job wrote, or that the driver wrote about it."""
        times: list[Any] = [self.progress.get("time"), self.result.get("ended")]
        times += [epoch.get("time") for epoch in self.epochs[-1:]]
        times += [moment for attempt in self.attempts[-1:] for moment in (attempt.started, attempt.ended)]
        known = [float(moment) for moment in times if isinstance(moment, int | float)]
        return max(known, default=None)

    def last_checkpoint(self) -> str | None:
        """Name of the checkpoint with the highest step; None if there is no checkpoint."""
        folder = self.folder / CHECKPOINTS
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return max((name for name in names if re.fullmatch(r"step-\d+", name)), default=None)


@dataclass(frozen=True)
class RunRecord:
    """A whole run folder.

    config: the resolved configuration as plain data; config_text: the text of that file. jobs: by name, in
    the order of the recipe, the stack last. problems: one line for each file that is corrupt or incomplete.
    """

    folder: Path
    config: Mapping[str, Any]
    config_text: str
    run: RunInfo
    events: tuple[EventRecord, ...]
    jobs: Mapping[str, JobRecord]
    problems: tuple[str, ...]

    def member_of(self, job: str) -> str | None:
        """The model that a fold's job trains without its fold; None for any other job."""
        stack = self.config.get(STACK)
        folds = stack.get("folds") if isinstance(stack, Mapping) else None
        parts = FOLD_JOB.fullmatch(job)
        return parts[1] if folds and parts and 1 <= int(parts[2]) <= folds else None


def read_run(folder: Path) -> RunRecord:
    """Read a run folder as it is now, also while a run writes to it.

    Raises:
        UserError: `folder` is not a run folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run folder")
    if not any((folder / name).exists() for name in (CONFIG, RUN, EVENTS, JOBS)):
        raise UserError(f"{folder}: not a run folder (no {CONFIG}, {RUN}, {EVENTS} or {JOBS} in it)")
    problems: list[str] = []
    config_text = read_text(folder / CONFIG, problems)
    config = _parse_yaml(config_text, folder / CONFIG, problems)
    run = cast(RunInfo, read_object(folder / RUN, problems))
    events = tuple(cast(EventRecord, event) for event in _objects(folder / EVENTS, problems) if "job" in event)
    names = _job_names(folder, run, events, problems)
    jobs = {name: _read_job(folder / JOBS / name, events, problems) for name in names}
    return RunRecord(folder, config, config_text, run, events, jobs, tuple(problems))


def _job_names(folder: Path, run: RunInfo, events: Iterable[EventRecord], problems: list[str]) -> list[str]:
    """Names of the planned jobs in the order of the recipe, then of any other job that left a trace; the stack last."""
    planned = run.get("jobs")
    if not isinstance(planned, list):
        problems.append(f"{RUN}: lists no jobs; those that never started are not shown until train-all resumes the run")
        planned = []
    on_disk = sorted(p.name for p in (folder / JOBS).glob("*") if p.is_dir() and not p.name.startswith(UNFINISHED))
    names = dict.fromkeys([*map(str, planned), *(str(event["job"]) for event in events), *on_disk])
    return sorted(names, key=lambda name: name == STACK)


def _read_job(folder: Path, events: Sequence[EventRecord], problems: list[str]) -> JobRecord:
    own = [event for event in events if event["job"] == folder.name]
    errors = [(str(event["event"]), str(event["error"])) for event in own if event.get("error")]
    epochs = _last_of_each_epoch(_objects(folder / METRICS, problems))
    signs = [float(epoch["time"]) for epoch in epochs if isinstance(epoch.get("time"), int | float)]
    return JobRecord(
        name=folder.name,
        folder=folder,
        epochs=epochs,
        progress=cast(ProgressRecord, read_object(heartbeat_path(folder, 0), problems)),
        result=cast(JobResult, read_object(folder / RESULT, problems)),
        attempts=attempts_of(folder.name, events, signs=signs),
        last_event=None if not own or _superseded(own[-1], events) else str(own[-1].get("event")),
        error=errors[-1][1] if errors else None,
        error_event=errors[-1][0] if errors else None,
        retries=sum(event.get("event") == "retried" for event in own),
    )


def _superseded(last: EventRecord, events: Iterable[EventRecord]) -> bool:
    """Whether a job's last event, `failed` or `skipped`, is past: a later call has started a failed job again."""
    if last.get("event") not in ("failed", "skipped"):
        return False
    failed: set[str] = set()
    for event in events:
        name = event["job"]
        if event.get("event") == "failed":
            failed.add(name)
        elif event.get("event") == "started" and name in failed and event.get("time", 0) > last.get("time", 0):
            return True
    return False


def _last_of_each_epoch(lines: Iterable[Mapping[str, Any]]) -> tuple[EpochRow, ...]:
    """Epochs in order. An epoch that was trained again after a kill has two records; the later one counts."""
    by_epoch = {int(line["epoch"]): cast(EpochRow, line) for line in lines if isinstance(line.get("epoch"), int)}
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))


def _objects(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    return [value for value in read_lines(path, problems) if isinstance(value, dict)]


def _parse_yaml(text: str, path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The mapping in `text`, the content of `path`; empty if it holds none."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        problems.append(f"{path.name}: not valid YAML")
        return {}
    return value if isinstance(value, dict) else {}
