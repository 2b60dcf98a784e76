"""The state of a run and its jobs, from the run folder alone: while it runs, after it died, or from a copy."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cluster.liveness.lease import STALE_S, read_holder, renewed_at
from cluster.liveness.process import Identity, is_alive, is_stopped, machine
from launch.run.owner import SILENT_S, is_gone, owner_of
from launch.run.record import JobRecord, RunRecord, read_run
from launch.run.schema import ProgressRecord
from launch.terminal.wording import duration

State = Literal["done", "running", "waiting", "failed", "stopped", "skipped"]

STALE_TRAINING_S = 60.0
"""A training job rewrites its progress about once a second; a minute without is not an ordinary delay."""

STALE_OTHERWISE_S = 300.0
"""A job that starts (imports, connects to its peers, traces its graph) or evaluates writes nothing for longer."""

ORPHANED_AFTER_S = 10.0
"""Workers exit within seconds after their driver has died."""


@dataclass(frozen=True)
class JobStatus:
    """One job at one moment.

    accuracy: on the test pages if they were scored, otherwise of the last epoch on the validation pages, otherwise of
    the current epoch on the training pages; accuracy_on says which ("test", "val", "train"). last_sign_of_life: unix
    seconds; age_s: seconds since then; None for both if the job has given none. idle_s: seconds since its last
    progress; more than age_s in a job that hangs, whose heartbeats continue. stale: the job should be running, and
    idle_s is too large.
    """

    name: str
    state: State
    group: Mapping[str, int]
    phase: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    accuracy: float | None = None
    accuracy_on: str | None = None
    last_checkpoint: str | None = None
    attempts: int = 0
    retries: int = 0
    last_sign_of_life: float | None = None
    age_s: float | None = None
    idle_s: float | None = None
    stale: bool = False
    error: str | None = None


@dataclass(frozen=True)
class DriverStatus:
    """The process that drives the run, from its lease. gone: it died without releasing the lease."""

    text: str
    gone: bool


@dataclass(frozen=True)
class RunStatus:
    """The run at one moment: its state, its jobs in the order of the recipe, and its driver if there is one."""

    run: Path
    state: State
    jobs: tuple[JobStatus, ...]
    now: float
    problems: tuple[str, ...] = ()
    driver: DriverStatus | None = None


def read_status(run: Path, *, now: float | None = None) -> RunStatus:
    """The state of the run in folder `run` at `now` (unix seconds; None: the current time).

    Raises:
        UserError: `run` is not a run folder.
    """
    return status_of(read_run(run), now=time.time() if now is None else now)


def status_of(record: RunRecord, *, now: float) -> RunStatus:
    """The state at `now` of a run that has been read."""
    driver = read_driver(record.folder, now=now) or _read_owner(record, now)
    gone = driver is not None and driver.gone
    jobs = tuple(read_job_status(job, now=now, driver_gone=gone) for job in record.jobs.values())
    state = _run_state(jobs, between=_between_jobs(record, driver))
    if gone and state in ("running", "waiting"):
        state = "stopped"
    return RunStatus(record.folder, state, jobs, now, record.problems, driver)


def read_driver(run: Path, *, now: float) -> DriverStatus | None:
    """The driver of the run. On this machine its process must be alive; on another one its lease must be fresh."""
    holder, renewed = read_holder(run), renewed_at(run)
    if holder is None or renewed is None:
        return None
    who, age = holder.owner.text(), max(0.0, now - renewed)
    if holder.owner.machine != machine():
        gone = age > 2 * STALE_S
        return DriverStatus(f"{who}, {'last heard of' if gone else 'heard of'} {duration(age)} ago", gone)
    if not is_alive(holder.owner.pid, holder.owner.ticks):
        return DriverStatus(_died(holder.owner), gone=True)
    return DriverStatus(f"{who}{', stopped by a signal' if is_stopped(holder.owner.pid) else ''}", gone=False)


def _read_owner(record: RunRecord, now: float) -> DriverStatus | None:
    """The process that trains without a driver, of the newest event that names one, unless all it started has ended."""
    started = [event for event in record.events if event.get("event") == "started"]
    owner = owner_of(started[-1]) if started else None
    if owner is None:
        return None
    job = record.jobs[started[-1]["job"]]
    gone = is_gone(owner, last_sign=job.last_sign_of_life, now=now)
    is_open = bool(job.attempts) and job.attempts[-1].outcome == "running"
    if not gone:
        return DriverStatus(f"{owner.text()}, without Ray", gone=False)
    return DriverStatus(_died(owner), gone=True) if is_open else None


def _died(process: Identity) -> str:
    return f"{process.text()} has died; run the same command again to resume"


def read_job_status(job: JobRecord, *, now: float, driver_gone: bool = False) -> JobStatus:
    """The state of one job. Its result takes precedence over the driver's last event, which does over its progress."""
    state = _job_state(job, now)
    if driver_gone and state == "running" and not _alive(job, now, within_s=ORPHANED_AFTER_S):
        state = "stopped"
    alive, progress, result = job.last_sign_of_life, job.progress, job.result
    age_s = max(0.0, now - alive) if alive is not None else None
    idle_s = max(age_s, _unchanged_s(progress, now)) if age_s is not None else None
    limit = STALE_TRAINING_S if progress.get("phase") == "training" else STALE_OTHERWISE_S
    split, accuracy = _accuracy(job)
    return JobStatus(
        name=job.name,
        state=state,
        group=job.attempts[-1].group if job.attempts else {},
        phase=str(progress["phase"]) if "phase" in progress else None,
        epoch=_integer(result.get("epochs", progress.get("epoch"))),
        epochs=_integer(progress.get("epochs", result.get("epochs"))),
        step=_integer(progress.get("step", job.epochs[-1].get("step") if job.epochs else None)),
        steps=_integer(progress.get("steps")),
        accuracy=accuracy,
        accuracy_on=split,
        last_checkpoint=job.last_checkpoint(),
        attempts=len(job.attempts) or _integer(progress.get("attempt")) or 0,
        retries=job.retries,
        last_sign_of_life=alive,
        age_s=age_s,
        idle_s=idle_s,
        stale=state == "running" and (idle_s is None or idle_s > limit),
        error=_error(job, state),
    )


def _unchanged_s(progress: ProgressRecord, now: float) -> float:
    """Seconds since rank 0 last made progress; 0 if unknown."""
    changed = progress.get("step_time")
    return max(0.0, now - changed) if isinstance(changed, int | float) else 0.0


def _accuracy(job: JobRecord) -> tuple[str | None, float | None]:
    training = job.progress.get("accuracy") if job.progress.get("phase") == "training" else None
    last = job.epochs[-1].get("val_accuracy") if job.epochs else None
    found = {"test": job.result.get("test_accuracy"), "val": job.result.get("val_accuracy", last), "train": training}
    return next(((split, float(a)) for split, a in found.items() if isinstance(a, int | float)), (None, None))


def _job_state(job: JobRecord, now: float) -> State:
    if job.result:
        return "done"
    if job.last_event == "skipped":
        return "skipped"
    if job.last_event == "retried" or (job.last_event is None and job.attempts):
        return "waiting"
    if job.attempts:
        last = job.attempts[-1]
        if last.outcome == "running" and last.owner is not None:
            return "stopped" if is_gone(last.owner, last_sign=job.last_sign_of_life, now=now) else "running"
        ended: dict[str, State] = {"failed": "failed", "running": "running"}
        return ended.get(last.outcome, "stopped")
    if not job.progress and not job.epochs:
        return "waiting"
    # Nobody wrote events: a program of the user's trains, and only the job's own files show whether it still runs.
    final: dict[str, State] = {"failed": "failed", "stopped": "stopped", "done": "stopped"}
    return final.get(str(job.progress.get("phase")), "running" if _alive(job, now, within_s=SILENT_S) else "stopped")


def _alive(job: JobRecord, now: float, *, within_s: float) -> bool:
    alive = job.last_sign_of_life
    return alive is not None and now - alive <= within_s


def _between_jobs(record: RunRecord, driver: DriverStatus | None) -> State | None:
    """The state of a run of which some jobs are done, and none runs; None: nobody recorded who drives it."""
    if driver is not None:
        return "stopped" if driver.gone else "running"
    started = [event for event in record.events if event.get("event") == "started"]
    if not started:
        return None
    # A stage that was started by hand has ended, and nobody was to train the others.
    return "waiting" if owner_of(started[-1]) is not None else "stopped"


def _run_state(jobs: tuple[JobStatus, ...], *, between: State | None) -> State:
    """between: see `_between_jobs`."""
    states = [job.state for job in jobs]
    if "running" in states:
        return "running"
    if "failed" in states or "skipped" in states:
        return "failed"
    if states and all(state == "done" for state in states):
        return "done"
    if "stopped" in states:
        return "stopped"
    if "done" not in states:
        return "waiting"
    if between is not None:
        return between
    # Between two jobs nothing runs for a moment; if that lasts, the driver must be gone.
    youngest = min((job.age_s for job in jobs if job.age_s is not None), default=None)
    return "running" if youngest is not None and youngest <= STALE_TRAINING_S else "stopped"


def _error(job: JobRecord, state: State) -> str | None:
    """The line that says what went wrong: the first line of a failure's text, the last one of a bare traceback."""
    # When a job runs again, the error of an earlier call is past; the reason for a retry is not.
    if state == "done" or not job.error or (state == "running" and job.error_event != "retried"):
        return None
    lines = [line.strip() for line in job.error.splitlines() if line.strip()]
    return (lines[-1] if lines[0].startswith("Traceback ") else lines[0]) if lines else None


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None
