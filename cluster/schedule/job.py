"""The scheduler's values: jobs, their state, failures, outcomes and events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.schedule.slots import Group

FailureKind = Literal["start", "user", "raised", "died", "hung", "stopped", "reclaimed"]


@dataclass(frozen=True)
class JobSpec:
    """One function that all ranks of one Horovod world run.

    target: `module:function`, called as `function(payload)` once on each rank. On SIGTERM, which all ranks get, it
    saves its state and raises `Stopped`, or finishes; a `StopRequest` in it has received what came while it started.
    payload: plain JSON data, with absolute paths.
    workers: number of ranks; null lets the planner choose among the divisors of `global_batch` (null: any number) up
    to `max_workers`.
    global_batch: pages that all ranks process at once; with micro-batches, of one of them.
    max_workers: the number that was planned for it, which it gets wherever there are as many slots; null: none was.
    depends_on: names of the jobs that must be done first.
    logs: folder for each rank's output, `rank-N.txt`; null leaves it to Ray's own logs.
    heartbeats: folder in which the ranks keep heartbeats (`cluster.liveness.watch`); null turns hang detection off.
    gpu: whether its workers use the GPUs of their slots; if not, they reserve none and see none.
    work: how long it takes with one worker, in any unit that the jobs share; of the jobs that are ready, the one with
    the longest chain of work behind it starts first.
    reuse_workers: whether it may run in the processes of an earlier job of this kind, and a later one in its own: it
    leaves nothing in a process that changes what a later job computes.
    """

    name: str
    target: str
    payload: dict[str, Any]
    workers: int | None = None
    depends_on: tuple[str, ...] = ()
    global_batch: int | None = None
    max_workers: int | None = None
    logs: str | None = None
    heartbeats: str | None = None
    gpu: bool = True
    work: float = 1.0
    reuse_workers: bool = False


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended: what failed first, with a summary of the other ranks.

    kind: `start`, before the target was called; `user`, a UserError of the target; `raised`, any other exception of the
    target, or a NumericError; `died`, a worker or its host is gone; `hung`, a live worker makes no progress; `stopped`,
    the target saved its state on request; `reclaimed`, it left a host that its cloud takes back.
    rank, host, log: of the rank that failed. also: one line for each thing that other ranks reported.
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
        if self.kind in ("user", "stopped", "reclaimed"):
            return self.message
        where = [f"rank {self.rank}"] if self.rank is not None else []
        where += [f"on {self.host}"] if self.host else []
        return f"{' '.join(where)}: {self.message}" if where else self.message

    def text(self) -> str:
        """All that is known: the line, then `details`."""
        return "\n".join([self.line(), *self.details()])

    def details(self) -> list[str]:
        """The lines after the first: the traceback, the log's path, what other ranks reported."""
        if self.kind in ("user", "stopped", "reclaimed"):
            return []
        traceback = [self.traceback.rstrip()] if self.traceback else []
        return [*traceback, *([f"log: {self.log}"] if self.log else []), *self.also]


@dataclass(frozen=True)
class Worker:
    """One running rank of a job: where it runs and its GPUs."""

    rank: int
    host: str
    pid: int
    devices: str
    """CUDA_VISIBLE_DEVICES of the process, of which local rank r uses the r-th; `-1` without GPUs."""
    import_s: float
    """Seconds that importing the target's module took."""
    ticks: int = 0
    machine: str = ""
    """Together with `pid` and `ticks` it identifies the process uniquely; see `cluster.liveness.process`."""


@dataclass(frozen=True)
class Ended:
    """The end of an attempt; without a `failure`, `value` is what rank 0 returned."""

    job: str
    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Started:
    """An attempt whose workers are all up and about to call the target.

    seconds: since the attempt was started; placed_s: the part of them until its slots were reserved. reused: whether
    the workers are those of an earlier job.
    """

    job: str
    workers: tuple[Worker, ...]
    placed_s: float
    seconds: float
    reused: bool = False


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended. started, ended: unix seconds of the first start and of the end; null if it never started."""

    name: str
    state: Literal["done", "failed", "skipped", "stopped"]
    value: Any = None
    error: str | None = None
    """The failure in full, or why the job was skipped."""
    started: float | None = None
    ended: float | None = None
    group: Group | None = None
    attempts: int = 0
    failures: tuple[Failure, ...] = ()
    give_up_reason: str | None = None
    """Why the last failure was not retried (empty for an error of the user); null where no failure ended the job."""


FINAL = "done", "failed", "skipped", "stopped"


@dataclass(eq=False)
class JobState:
    """What the scheduler knows of one job, from waiting to its outcome."""

    spec: JobSpec
    workers: int
    """The planned number; an attempt has fewer where hosts are gone when it starts."""
    group: Group | None = None
    """Slots of the last attempt; null before the first."""
    state: str = "waiting"  # waiting, running, or one of FINAL
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    not_before: float = 0.0
    lost_since: float | None = None
    """Since when (unix seconds) it could start but for a lack of hosts."""
    value: object = None
    error: str | None = None
    give_up_reason: str | None = None
    failures: list[Failure] = field(default_factory=list)

    def outcome(self) -> JobOutcome:
        """How the job ended.

        Raises:
            RuntimeError: it has not ended.
        """
        if self.state not in FINAL:
            raise RuntimeError(f"job {self.spec.name} is still {self.state}")
        return JobOutcome(
            name=self.spec.name,
            state=self.state,  # type: ignore[arg-type]  # narrowed just above
            value=self.value,
            error=self.error,
            started=self.started,
            ended=self.ended,
            group=self.group,
            attempts=self.attempts,
            failures=tuple(self.failures),
            give_up_reason=self.give_up_reason,
        )


@dataclass(frozen=True)
class Event:
    """Something that happened to a job, for the run's record. time: unix seconds."""

    time: float
    event: Literal["started", "running", "done", "failed", "retried", "skipped", "stopped", "waiting"]
    job: str
    group: Group | None = None
    attempt: int = 0
    error: str | None = None
    up: Started | None = None
    """With `running`: the workers, and how long their start took."""

    def record(self) -> dict[str, Any]:
        """The event as one JSON object."""
        record: dict[str, Any] = {"time": self.time, "event": self.event, "job": self.job}
        if self.group is not None:
            record["group"] = self.group.hosts
            record["slots"] = [str(slot) for slot in self.group.slots]
            record["attempt"] = self.attempt
        if self.up is not None:
            record["workers"] = [vars(worker) for worker in self.up.workers]
            record["placed_s"] = round(self.up.placed_s, 3)
            record["start_s"] = round(self.up.seconds, 3)
            record["reused"] = self.up.reused
        if self.error is not None:
            record["error"] = self.error
        return record


OnEvent = Callable[[Event], None]
