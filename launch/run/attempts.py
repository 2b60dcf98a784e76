"""The attempts of a job, from the events of its run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.liveness.process import Identity
from launch.run.owner import owner_of
from launch.run.schema import EventRecord

Outcome = Literal["done", "failed", "stopped", "skipped", "running"]

CLOSING: Mapping[str, Outcome] = {
    "done": "done",
    "failed": "failed",
    "retried": "failed",
    "stopped": "stopped",
    "skipped": "skipped",
}
"""Event that closes an attempt -> outcome of the attempt."""


@dataclass(frozen=True)
class Attempt:
    """One start of one job. Times are unix seconds; `ended` is None while the attempt is open.

    group: host -> number of slots. slots: `host:index`. owner: see `launch.run.owner`; None under a driver.
    """

    number: int
    started: float
    ended: float | None
    outcome: Outcome
    group: Mapping[str, int]
    slots: tuple[str, ...]
    error: str | None = None
    owner: Identity | None = None


def attempts_of(name: str, events: Iterable[EventRecord], *, signs: Sequence[float] = ()) -> tuple[Attempt, ...]:
    """The attempts of job `name`, oldest first, from the events of the whole run.

    An attempt that no event closed (the driver died) ended, at the latest, when the next one started; it gets the time
    of the last event or sign of life before that.

    signs: unix seconds at which the job wrote something.
    """
    closed: list[Attempt] = []
    open_event: EventRecord | None = None
    last_time = 0.0
    for event in events:
        time = float(event.get("time", last_time))
        if event.get("job") == name:
            kind = str(event.get("event"))
            if kind == "started":
                if open_event is not None:
                    alive = [float(open_event.get("time", 0.0)), last_time, *(sign for sign in signs if sign <= time)]
                    closed.append(_attempt(open_event, len(closed) + 1, ended=max(alive), outcome="stopped"))
                open_event = event
            elif open_event is not None and kind in CLOSING:
                outcome, error = CLOSING[kind], event.get("error")
                closed.append(_attempt(open_event, len(closed) + 1, ended=time, outcome=outcome, error=error))
                open_event = None
        last_time = max(last_time, time)
    if open_event is not None:
        closed.append(_attempt(open_event, len(closed) + 1, ended=None, outcome="running"))
    return tuple(closed)


def _attempt(
    started: EventRecord, number: int, *, ended: float | None, outcome: Outcome, error: str | None = None
) -> Attempt:
    return Attempt(
        number=number,
        started=float(started.get("time", 0.0)),
        ended=ended,
        outcome=outcome,
        group={str(host): int(count) for host, count in (started.get("group") or {}).items()},
        slots=tuple(str(slot) for slot in started.get("slots") or ()),
        error=str(error) if error else None,
        owner=owner_of(started),
    )
