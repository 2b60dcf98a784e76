"""What the scheduler is given and what it hands back: jobs, failures, outcomes and events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cluster.schedule.slots import Group

FailureKind = Literal["start", "user", "raised", "died", "hung", "stopped"]


@dataclass(frozen=True)
class JobSpec:
    """One function to be run by all ranks of one Horovod world.

    `target` is `module:function`, called as `function(payload)` once on each rank; `payload` is plain JSON
    data, with absolute paths. `workers` null leaves the number to the planner, which then keeps to divisors
    of `divides` (the global batch) and to at most `most`. `needs` names the jobs that must be done before.
    Every rank's output goes to a file `rank-N.txt` in the folder `logs`, and to Ray's own logs where that is
    null. Targets that keep heartbeats (`cluster.liveness.watch`) do so in the folder `heartbeats`, and are watched. A
    target is asked to stop with SIGTERM to all its ranks; it saves what it has and raises `Stopped`.
    """

    name: str
    target: str
    payload: dict[str, Any]
    workers: int | None = None
    needs: tuple[str, ...] = ()
    divides: int | None = None
    most: int | None = None
    logs: str | None = None
    heartbeats: str | None = None
    gpu: bool = True
    """Whether its workers use the GPUs of their slots; without, they reserve none and see none."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended: the rank that failed first, and the rest of the world folded into it.

    Kinds: `start`, before the target was called; `user`, a UserError of the target; `raised`, any other
    exception of the target (and a NumericError); `died`, a worker or its host that is gone; `hung`, a worker that is
    there and does not go on; `stopped`, a target that was asked to stop, and saved what it had.
    """

    kind: FailureKind
    message: str
    traceback: str | None = None
    rank: int | None = None
    host: str | None = None
    log: str | None = None
    also: tuple[str, ...] = ()

    def line(self) -> str:
        """One line: where it failed and why."""
        if self.kind in ("user", "stopped"):
            return self.message
        where = [f"rank {self.rank}"] if self.rank is not None else []
        where += [f"on {self.host}"] if self.host else []
        return f"{' '.join(where)}: {self.message}" if where else self.message

    def text(self) -> str:
        """All that is known, for a person: the line, the traceback, the log's path, what other ranks said."""
        return "\n".join([self.line(), *self.details()])

    def details(self) -> list[str]:
        """What stands below the line: the traceback, the log's path, what other ranks said."""
        if self.kind in ("user", "stopped"):
            return []
        traceback = [self.traceback.rstrip()] if self.traceback else []
        return [*traceback, *([f"log: {self.log}"] if self.log else []), *self.also]


@dataclass(frozen=True)
class Worker:
    """One rank of a job that is up: where it runs and what it was given."""

    rank: int
    host: str
    pid: int
    devices: str
    """CUDA_VISIBLE_DEVICES of the process, of which local rank r uses the r-th; `-1` without GPUs."""
    import_s: float
    """Seconds that the import of the target's module took."""
    ticks: int = 0
    machine: str = ""
    """With `pid`, the process for good and all; see `cluster.liveness.process`."""


@dataclass(frozen=True)
class Ended:
    """An attempt that is over; without a `failure`, `value` is what rank 0 returned."""

    job: str
    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Started:
    """An attempt whose workers are all up and about to call the target.

    `seconds` since it was asked for, and of these `placed_s` until its slots were reserved.
    """

    job: str
    workers: tuple[Worker, ...]
    placed_s: float
    seconds: float


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended. Times are unix seconds of the first start and of the end; null if it never started."""

    name: str
    state: Literal["done", "failed", "skipped", "stopped"]
    value: Any = None
    error: str | None = None
    """The failure in full, or why the job was skipped."""
    started: float | None = None
    ended: float | None = None
    group: Group | None = None
    wave: int | None = None
    attempts: int = 0
    failures: tuple[Failure, ...] = ()
    verdict: str | None = None
    """Why the last failure was not borne; null where something else ended the job."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job, for the run's record."""

    time: float
    event: Literal["started", "running", "done", "failed", "retried", "skipped", "stopped", "waiting"]
    job: str
    group: Group | None = None
    wave: int | None = None
    attempt: int = 0
    error: str | None = None
    up: Started | None = None
    """With `running`: the workers, and how long they took to be up."""

    def record(self) -> dict[str, Any]:
        """The event as one JSON object."""
        record: dict[str, Any] = {"time": self.time, "event": self.event, "job": self.job}
        if self.group is not None:
            record["group"] = self.group.hosts
            record["slots"] = [str(slot) for slot in self.group.slots]
            record["wave"] = self.wave
            record["attempt"] = self.attempt
        if self.up is not None:
            record["workers"] = [vars(worker) for worker in self.up.workers]
            record["placed_s"] = round(self.up.placed_s, 3)
            record["start_s"] = round(self.up.seconds, 3)
        if self.error is not None:
            record["error"] = self.error
        return record


OnEvent = Callable[[Event], None]
