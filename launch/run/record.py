"""A run folder as data: what its files say about every job, read without needing anything else."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data_tools.documents.regions import PRESETS
from data_tools.errors import UserError
from data_tools.files import UNFINISHED, read_lines, read_object, read_text

STACK = "stack"
"""Name of the job that joins the others' outputs; not a model of a region."""

CLOSING = {
    "done": "done",
    "failed": "failed",
    "retried": "failed",
    "stopped": "stopped",
    "interrupted": "stopped",
    "skipped": "skipped",
}
"""Event that ends an attempt -> how the attempt ended."""


@dataclass(frozen=True)
class Attempt:
    """One start of one job: times in unix seconds, `ended` None while it is open."""

    number: int
    started: float
    ended: float | None
    outcome: str
    group: Mapping[str, int]
    slots: tuple[str, ...]
    wave: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class JobRecord:
    """All that the run folder holds about one job; empty mappings and tuples where it holds nothing yet."""

    name: str
    folder: Path
    epochs: tuple[Mapping[str, Any], ...] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    last_event: str | None = None
    error: str | None = None
    error_event: str | None = None
    """The kind of event that the error came with."""
    retries: int = 0
    """How often it was started again after a failure, in all calls of the command."""

    @property
    def last_sign_of_life(self) -> float | None:
        """Unix seconds of the newest record that the job itself, or the driver about it, has left."""
        times = [self.progress.get("time"), self.result.get("ended")]
        times += [epoch.get("time") for epoch in self.epochs[-1:]]
        times += [moment for attempt in self.attempts[-1:] for moment in (attempt.started, attempt.ended)]
        known = [float(moment) for moment in times if isinstance(moment, int | float)]
        return max(known, default=None)

    def last_checkpoint(self) -> str | None:
        """Name of the checkpoint with the highest step, or None."""
        folder = self.folder / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return max((name for name in names if re.fullmatch(r"step-\d+", name)), default=None)


@dataclass(frozen=True)
class RunRecord:
    """A whole run folder; `problems` are lines about files that are damaged."""

    folder: Path
    config: Mapping[str, Any]
    config_text: str
    run: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    jobs: Mapping[str, JobRecord]
    problems: tuple[str, ...]


def read_run(folder: Path) -> RunRecord:
    """Read a run folder as it is now, also while a run writes to it.

    Raises:
        UserError: `folder` is not a run folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run folder")
    if not any((folder / name).exists() for name in ("config.yaml", "run.json", "events.jsonl", "jobs")):
        raise UserError(f"{folder}: not a run folder (no config.yaml, run.json, events.jsonl or jobs in it)")
    problems: list[str] = []
    config_text = read_text(folder / "config.yaml", problems)
    config = _parse_yaml(config_text, folder / "config.yaml", problems)
    events = tuple(event for event in _read_objects(folder / "events.jsonl", problems) if "job" in event)
    on_disk = sorted(p.name for p in (folder / "jobs").glob("*") if p.is_dir() and not p.name.startswith(UNFINISHED))
    names = dict.fromkeys([*planned_jobs(config), *(str(event["job"]) for event in events), *on_disk])
    jobs = {name: _read_job(folder / "jobs" / name, events, problems) for name in _stack_last(names)}
    run = read_object(folder / "run.json", problems)
    return RunRecord(folder, config, config_text, run, events, jobs, tuple(problems))


def planned_jobs(config: Mapping[str, Any]) -> list[str]:
    """Names of the jobs that a resolved configuration asks for, in order."""
    regions = config.get("regions") or {}
    region_names = list(PRESETS.get(regions, {})) if isinstance(regions, str) else list(regions)
    stages = _in_order(config.get("stages") or {})
    each = [stage for stage, settings in stages.items() if _region(settings) == "each"]
    names: list[str] = []
    for stage in stages:
        # Only the last stage that trains each region has jobs with the regions' plain names.
        own = [name if stage == each[-1] else f"{stage}_{name}" for name in region_names] if stage in each else [stage]
        names.extend(map(str, own))
    return [*names, STACK] if names and config.get("stack", True) is not None else names


def _in_order(stages: Mapping[str, Any]) -> dict[str, Any]:
    """The stages, each after the one that it starts from, as the recipe has them; what fits nowhere comes last."""
    order: dict[str, Any] = {}
    while len(order) < len(stages):
        left = [name for name in stages if name not in order]
        waits = {name: _start(stages[name]) in left for name in left}
        chosen = next((name for name in left if not waits[name]), left[0])
        order[chosen] = stages[chosen]
    return order


def _start(settings: Any) -> Any:
    return settings.get("start") if isinstance(settings, Mapping) else None


def _region(settings: Any) -> Any:
    return settings.get("region") if isinstance(settings, Mapping) else None


def attempts_of(name: str, events: Iterable[Mapping[str, Any]], *, signs: Iterable[float] = ()) -> tuple[Attempt, ...]:
    """The attempts of job `name`, oldest first, from the run's events (each with "time", "event", "job").

    signs: moments at which the job wrote something, for attempts whose end nobody wrote down: the driver died.
    """
    done: list[Attempt] = []
    begun: Mapping[str, Any] | None = None
    last_time = 0.0
    moments = sorted(signs)
    for event in events:
        time = float(event.get("time", last_time))
        if event.get("job") == name:
            kind = str(event.get("event"))
            if kind == "started":
                if begun is not None:
                    alive = [float(begun["time"]), last_time, *(m for m in moments if m <= time)]
                    done.append(_attempt(begun, len(done), ended=max(alive), outcome="stopped"))
                begun = event
            elif begun is not None and kind in CLOSING:
                ended = _attempt(begun, len(done), ended=time, outcome=CLOSING[kind], error=event.get("error"))
                done.append(ended)
                begun = None
        last_time = max(last_time, time)
    if begun is not None:
        done.append(_attempt(begun, len(done), ended=None, outcome="running"))
    return tuple(done)


def _attempt(begun: Mapping[str, Any], before: int, *, ended: float | None, outcome: str, error: Any = None) -> Attempt:
    wave = begun.get("wave")
    return Attempt(
        number=before + 1,
        started=float(begun.get("time", 0.0)),
        ended=ended,
        outcome=outcome,
        group={str(host): int(count) for host, count in (begun.get("group") or {}).items()},
        slots=tuple(str(slot) for slot in begun.get("slots") or ()),
        wave=int(wave) if wave is not None else None,
        error=str(error) if error else None,
    )


def _read_job(folder: Path, events: tuple[Mapping[str, Any], ...], problems: list[str]) -> JobRecord:
    own = [event for event in events if event["job"] == folder.name]
    errors = [(str(event["event"]), str(event["error"])) for event in own if event.get("error")]
    epochs = _newest_of_each_epoch(_read_objects(folder / "metrics.jsonl", problems))
    signs = [float(epoch["time"]) for epoch in epochs if isinstance(epoch.get("time"), int | float)]
    return JobRecord(
        name=folder.name,
        folder=folder,
        epochs=epochs,
        progress=read_object(folder / "progress.json", problems),
        result=read_object(folder / "result.json", problems),
        attempts=attempts_of(folder.name, events, signs=signs),
        last_event=None if not own or _taken_up_again(own[-1], events) else str(own[-1].get("event")),
        error=errors[-1][1] if errors else None,
        error_event=errors[-1][0] if errors else None,
        retries=sum(event.get("event") == "retried" for event in own),
    )


def _taken_up_again(last: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a job's failing or skipping is past, since a later call has started a failed job again."""
    if last.get("event") not in ("failed", "skipped"):
        return False
    failed: set[str] = set()
    for event in events:
        name = str(event["job"])
        if event.get("event") == "failed":
            failed.add(name)
        elif event.get("event") == "started" and name in failed and event.get("time", 0) > last.get("time", 0):
            return True
    return False


def _newest_of_each_epoch(lines: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Epochs in order; of one that was trained again after a kill, the later record counts."""
    by_epoch = {int(line["epoch"]): line for line in lines if isinstance(line.get("epoch"), int)}
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))


def _stack_last(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: name == STACK)


def _parse_yaml(text: str, path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The mapping in `text`, the content of `path`; empty if it holds none."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        problems.append(f"{path.name}: not valid YAML")
        return {}
    return value if isinstance(value, dict) else {}


def _read_objects(path: Path, problems: list[str]) -> list[Mapping[str, Any]]:
    return [value for value in read_lines(path, problems) if isinstance(value, dict)]
