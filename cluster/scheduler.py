"""Run jobs that need each other on groups of slots, each as soon as its group is free."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cluster.job import Ended, Event, Failure, JobOutcome, JobSpec, OnEvent, Started
from cluster.plan import move, plan_jobs
from cluster.retry import RetryPolicy, decide
from cluster.slots import Group, Host, Placement, Slot
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the loop looks up without news, so that signals and retries in waiting are served."""


class Backend(Protocol):
    """What starts jobs: one attempt of a job at a time, many jobs at once."""

    def hosts(self) -> Sequence[Host]:
        """The hosts that are there now."""
        ...

    def start(self, job: JobSpec, group: Group, *, attempt: int) -> None:
        """Begin an attempt and return at once; what becomes of it comes out of `wait`."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
        """News of the attempts, oldest first; none if `timeout_s` passes without. `Ended` frees the slots."""
        ...

    def stop(self, job: str) -> None:
        """End an attempt's processes now; nothing more comes of it."""
        ...


@dataclass
class _Progress:
    """What the scheduler knows of one job."""

    job: JobSpec
    placement: Placement
    state: str = "waiting"  # waiting, running, done, failed, skipped
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    not_before: float = 0.0
    value: object = None
    error: str | None = None
    failures: list[Failure] = field(default_factory=list)

    def outcome(self) -> JobOutcome:
        ran = self.attempts > 0
        if self.state not in ("done", "failed", "skipped"):
            raise RuntimeError(f"job {self.job.name} is still {self.state}")
        return JobOutcome(
            name=self.job.name,
            state=self.state,  # type: ignore[arg-type]  # narrowed just above
            value=self.value,
            error=self.error,
            started=self.started,
            ended=self.ended,
            group=self.placement.group if ran else None,
            wave=self.placement.wave if ran else None,
            attempts=self.attempts,
            failures=tuple(self.failures),
        )


def run_jobs(
    jobs: Sequence[JobSpec],
    *,
    backend: Backend,
    retries: RetryPolicy,
    on_event: OnEvent,
    clock: Callable[[], float] = time.time,
) -> dict[str, JobOutcome]:
    """Run all `jobs` and return how each ended, by name; a job that fails takes only those down that need it.

    Raises:
        UserError: a job asks for more slots than the backend's hosts have; nothing was started.
    """
    run = _Run(jobs, backend=backend, retries=retries, on_event=on_event, clock=clock)
    try:
        while not run.over:
            run.skip_blocked()
            run.start_ready()
            if not run.over:
                for news in backend.wait(LOOK_S):
                    run.take(news)
    finally:
        run.stop_all()
    return run.outcomes()


class _Run:
    def __init__(
        self,
        jobs: Sequence[JobSpec],
        *,
        backend: Backend,
        retries: RetryPolicy,
        on_event: OnEvent,
        clock: Callable[[], float],
    ) -> None:
        self._backend, self._retries, self._on_event, self._clock = backend, retries, on_event, clock
        plan = plan_jobs(backend.hosts(), jobs)
        self._jobs = {job.name: _Progress(job, plan[job.name]) for job in jobs}

    @property
    def over(self) -> bool:
        return all(p.state in ("done", "failed", "skipped") for p in self._jobs.values())

    def outcomes(self) -> dict[str, JobOutcome]:
        return {name: progress.outcome() for name, progress in self._jobs.items()}

    def skip_blocked(self) -> None:
        """Give up the jobs that need one that will never be done, and in turn those that need them."""
        found = True
        while found:
            found = False
            for progress in self._in_state("waiting"):
                lost = [name for name in progress.job.needs if self._jobs[name].state in ("failed", "skipped")]
                if lost:
                    progress.state = "skipped"
                    progress.error = f"needs {', '.join(lost)}, which did not end well"
                    self._tell("skipped", progress, error=progress.error)
                    found = True

    def start_ready(self) -> None:
        """Start each waiting job whose needs are done and whose slots are free, in the order of the plan."""
        waiting = self._in_state("waiting")
        for progress in sorted(waiting, key=lambda p: p.placement.wave):
            done = all(self._jobs[need].state == "done" for need in progress.job.needs)
            free = self._busy().isdisjoint(progress.placement.group.slots)
            if done and free and self._clock() >= progress.not_before:
                self._start(progress)

    def take(self, news: Started | Ended) -> None:
        progress = self._jobs[news.job]
        if isinstance(news, Started):
            self._tell("running", progress, up=news)
        elif news.failure is None:
            progress.state, progress.value, progress.ended = "done", news.value, self._clock()
            self._tell("done", progress)
        else:
            self._failed(progress, news.failure)

    def stop_all(self) -> None:
        for progress in self._in_state("running"):
            self._backend.stop(progress.job.name)

    def _start(self, progress: _Progress) -> None:
        progress.state = "running"
        progress.attempts += 1
        progress.started = progress.started or self._clock()
        self._tell("started", progress)
        self._backend.start(progress.job, progress.placement.group, attempt=progress.attempts)

    def _failed(self, progress: _Progress, failure: Failure) -> None:
        progress.failures.append(failure)
        decision = decide(self._retries, progress.failures)
        if decision.again:
            progress.state, progress.not_before = "waiting", self._clock() + decision.wait_s
            self._tell("retried", progress, error=f"{failure.line()} ({decision.reason})")
            self._leave_lost_hosts(progress)
        else:
            why = "" if failure.kind == "user" else f"\n{decision.reason}"
            self._give_up(progress, failure.text() + why)

    def _give_up(self, progress: _Progress, error: str) -> None:
        progress.state, progress.error, progress.ended = "failed", error, self._clock()
        self._tell("failed", progress, error=error)

    def _leave_lost_hosts(self, hit: _Progress) -> None:
        """Move every job that has yet to start, `hit` among them, off hosts that are no longer there."""
        hosts = self._backend.hosts()
        names = {host.name for host in hosts}
        for progress in [hit, *(p for p in self._in_state("waiting") if p is not hit)]:
            group = progress.placement.group
            if names.issuperset(group.hosts):
                continue
            try:
                moved = move(hosts, progress.job, group, busy=self._busy())
            except UserError as error:
                self._give_up(progress, str(error))
                continue
            progress.placement = Placement(progress.placement.wave, moved)
            logger.warning("%s moves from %s to %s", progress.job.name, group.hosts, moved.hosts)

    def _in_state(self, state: str) -> list[_Progress]:
        return [progress for progress in self._jobs.values() if progress.state == state]

    def _busy(self) -> set[Slot]:
        return {slot for progress in self._in_state("running") for slot in progress.placement.group.slots}

    def _tell(self, event: str, progress: _Progress, *, error: str | None = None, up: Started | None = None) -> None:
        started = progress.attempts > 0
        self._on_event(
            Event(
                time=self._clock(),
                event=event,  # type: ignore[arg-type]  # only the literals of Event are passed here
                job=progress.job.name,
                group=progress.placement.group if started else None,
                wave=progress.placement.wave if started else None,
                attempt=progress.attempts,
                error=error,
                up=up,
            )
        )
