"""Runs jobs that depend on each other on groups of slots, each as soon as its group is free."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.schedule.job import FINAL, Ended, Event, Failure, JobOutcome, JobSpec, JobState, OnEvent, Started
from cluster.schedule.placement import move, plan_jobs
from cluster.schedule.retry import RetryPolicy, decide
from cluster.schedule.slots import Group, Host, Placement, Slot
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""How long the loop waits for news at most, so that stop requests and due retries are served."""


class Backend(Protocol):
    """Starts jobs: one attempt of a job at a time, many jobs at once."""

    def hosts(self) -> Sequence[Host]:
        """The live hosts."""
        ...

    def start(self, job: JobSpec, group: Group, *, attempt: int) -> None:
        """Start an attempt and return at once; `wait` reports how it goes."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
        """News of the attempts, oldest first; empty if there is none within `timeout_s`. `Ended` frees the slots."""
        ...

    def request_stop(self, job: str) -> bool:
        """Request that an attempt saves and exits; `wait` reports its `Ended`. False: it does not run yet."""
        ...

    def kill(self, job: str) -> None:
        """Kill an attempt's processes; `wait` reports nothing more about it."""
        ...


@dataclass(frozen=True)
class StopRule:
    """asked: whether a stop is requested, polled about once a second. timeout_s: how long jobs may take to exit."""

    asked: Callable[[], bool] = lambda: False
    timeout_s: float = 120.0


def run_jobs(
    jobs: Sequence[JobSpec],
    *,
    backend: Backend,
    retries: RetryPolicy,
    on_event: OnEvent,
    stop: StopRule | None = None,
    clock: Callable[[], float] = time.time,
) -> dict[str, JobOutcome]:
    """Run all `jobs` and return how each ended, by name. A failed job skips only the jobs that depend on it.

    After a stop request, running jobs save and exit, and no job is started.

    Raises:
        UserError: a job requests more slots than the backend's hosts have; nothing was started. Also whatever
            `stop.asked` raises.
    """
    run = _Run(jobs, backend=backend, retries=retries, on_event=on_event, clock=clock)
    rule = stop or StopRule()
    try:
        while not run.over:
            if rule.asked():
                run.stop(rule.timeout_s)
            else:
                run.skip_blocked()
                run.place_again()
                run.start_ready()
            if not run.over:
                for news in backend.wait(POLL_S):
                    run.take(news)
    finally:
        run.kill_all()
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
        self._jobs = {spec.name: JobState(spec, plan[spec.name]) for spec in jobs}
        self._kill_at: float | None = None

    @property
    def over(self) -> bool:
        return all(job.state in FINAL for job in self._jobs.values())

    def outcomes(self) -> dict[str, JobOutcome]:
        return {name: job.outcome() for name, job in self._jobs.items()}

    def skip_blocked(self) -> None:
        """Skip the jobs that depend on a failed job, and in turn those that depend on them."""
        found = True
        while found:
            found = False
            for job in self._in_state("waiting"):
                lost = [name for name in job.spec.depends_on if self._jobs[name].state in ("failed", "skipped")]
                if lost:
                    job.state = "skipped"
                    job.error = f"depends on {', '.join(lost)}, which failed or was skipped"
                    self._emit("skipped", job, error=job.error)
                    found = True

    def start_ready(self) -> None:
        """Start each waiting job whose dependencies are done and whose slots are free, in the order of the plan."""
        waiting = self._in_state("waiting")
        for job in sorted(waiting, key=lambda job: job.placement.wave):
            done = all(self._jobs[name].state == "done" for name in job.spec.depends_on)
            free = self._busy().isdisjoint(job.placement.group.slots)
            if done and free and job.lost_since is None and self._clock() >= job.not_before:
                self._start(job)

    def take(self, news: Started | Ended) -> None:
        job = self._jobs[news.job]
        if isinstance(news, Started):
            self._emit("running", job, up=news)
        elif news.failure is None:
            job.state, job.value, job.ended = "done", news.value, self._clock()
            self._emit("done", job)
        else:
            self._failed(job, news.failure)

    def stop(self, timeout_s: float) -> None:
        """Request running jobs to stop and drop the waiting ones; after `timeout_s`, kill what still runs."""
        if self._kill_at is None:
            self._kill_at = self._clock() + timeout_s
            for job in self._in_state("waiting"):
                self._stopped(job)
            for job in self._in_state("running"):
                if not self._backend.request_stop(job.spec.name):
                    self._backend.kill(job.spec.name)
                    self._stopped(job)
        elif self._clock() >= self._kill_at:
            for job in self._in_state("running"):
                self._backend.kill(job.spec.name)
                self._stopped(job, f"it did not exit within {timeout_s:.0f} s")

    def _stopped(self, job: JobState, error: str | None = None) -> None:
        job.state, job.error, job.ended = "stopped", error, self._clock()
        if job.attempts:
            self._emit("stopped", job, error=job.error)

    def kill_all(self) -> None:
        """Kill what still runs: the driver exits at once, or failed itself."""
        for job in self._in_state("running"):
            self._backend.kill(job.spec.name)
            self._stopped(job, "the driver exited")

    def _start(self, job: JobState) -> None:
        job.state = "running"
        job.attempts += 1
        job.started = job.started or self._clock()
        self._emit("started", job)
        self._backend.start(job.spec, job.placement.group, attempt=job.attempts)

    def _failed(self, job: JobState, failure: Failure) -> None:
        if self._kill_at is not None and failure.kind != "user":
            self._stopped(job, None if failure.kind == "stopped" else failure.line())
            return
        job.failures.append(failure)
        decision = decide(self._retries, job.failures)
        if decision.again:
            job.state, job.not_before = "waiting", self._clock() + decision.wait_s
            self._emit("retried", job, error=f"{failure.line()} ({decision.reason})")
            self._move_off_lost_hosts([job, *self._in_state("waiting")])
        else:
            job.give_up_reason = "" if failure.kind == "user" else decision.reason
            self._give_up(job, "\n".join(filter(None, [failure.text(), job.give_up_reason])))

    def _give_up(self, job: JobState, error: str) -> None:
        job.state, job.error, job.ended = "failed", error, self._clock()
        self._emit("failed", job, error=error)

    def place_again(self) -> None:
        """Place the jobs that lost their hosts again; fail those that have waited for hosts for too long."""
        lost = [job for job in self._in_state("waiting") if job.lost_since is not None]
        if lost:
            self._move_off_lost_hosts(lost)

    def _move_off_lost_hosts(self, jobs: Sequence[JobState]) -> None:
        """Move those of `jobs` that lost a host; where too few slots are left, they wait."""
        hosts = self._backend.hosts()
        names = {host.name for host in hosts}
        for job in dict.fromkeys(jobs):
            group = job.placement.group
            if names.issuperset(group.hosts):
                job.lost_since = None
                continue
            try:
                moved = move(hosts, job.spec, group=group, busy=self._busy())
            except UserError as error:
                self._wait_for_hosts(job, str(error))
                continue
            job.placement, job.lost_since = Placement(job.placement.wave, moved), None
            logger.warning("%s moves from %s to %s", job.spec.name, group.hosts, moved.hosts)

    def _wait_for_hosts(self, job: JobState, why: str) -> None:
        if not all(self._jobs[name].state == "done" for name in job.spec.depends_on):
            job.lost_since = math.inf
            return
        now, limit = self._clock(), self._retries.lost_host_timeout_s
        if job.lost_since is None or job.lost_since == math.inf:
            job.lost_since = now
            self._emit("waiting", job, error=f"{why}; waiting up to {limit:.0f} s for them")
        if now - job.lost_since >= limit:
            self._give_up(job, f"{why}, and none returned within {limit:.0f} s")

    def _in_state(self, state: str) -> list[JobState]:
        return [job for job in self._jobs.values() if job.state == state]

    def _busy(self) -> set[Slot]:
        return {slot for job in self._in_state("running") for slot in job.placement.group.slots}

    def _emit(self, event: str, job: JobState, *, error: str | None = None, up: Started | None = None) -> None:
        started = job.attempts > 0
        self._on_event(
            Event(
                time=self._clock(),
                event=event,  # type: ignore[arg-type]  # only the literals of Event are passed here
                job=job.spec.name,
                group=job.placement.group if started else None,
                wave=job.placement.wave if started else None,
                attempt=job.attempts,
                error=error,
                up=up,
            )
        )
