"""Runs jobs that depend on each other on groups of slots, each as soon as enough slots are free."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.schedule.job import FINAL, Ended, Event, Failure, JobOutcome, JobSpec, JobState, OnEvent, Started
from cluster.schedule.placement import choose, plan_workers, remaining_work, workers_left
from cluster.schedule.retry import RetryPolicy, decide
from cluster.schedule.slots import Group, Host, Slot, describe

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""How long the loop waits for news at most, so that stop requests and due retries are served."""


class Backend(Protocol):
    """Starts jobs: one attempt of a job at a time, many jobs at once."""

    def hosts(self) -> Sequence[Host]:
        """The live hosts."""
        ...

    def warm(self) -> Sequence[Group]:
        """The groups whose workers are up and idle; a job on exactly such a group starts sooner."""
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
        workers = plan_workers(backend.hosts(), jobs)
        urgency = remaining_work(jobs, workers)
        self._jobs = {spec.name: JobState(spec, workers[spec.name]) for spec in jobs}
        self._by_urgency = sorted(self._jobs.values(), key=lambda job: -urgency[job.spec.name])
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
        """Start the jobs whose dependencies are done on whatever slots are free, the most urgent first."""
        ready = [job for job in self._by_urgency if self._is_ready(job)]
        if not ready:
            return
        hosts = self._backend.hosts()
        sizes = {job.spec.name: size for job in ready if (size := self._workers_now(job, hosts)) is not None}
        before = {name: group for name in sizes if (group := self._jobs[name].group) is not None}
        warm = self._backend.warm()
        for name, group in choose(sizes, hosts=hosts, busy=self._busy(), before=before, warm=warm).items():
            self._start(self._jobs[name], group)

    def _is_ready(self, job: JobState) -> bool:
        done = all(self._jobs[name].state == "done" for name in job.spec.depends_on)
        return job.state == "waiting" and done and self._clock() >= job.not_before

    def _workers_now(self, job: JobState, hosts: Sequence[Host]) -> int | None:
        """The number of workers of a ready job on the live `hosts`; None while it waits for lost hosts."""
        slots = sum(host.slots for host in hosts)
        size = workers_left(job.spec, job.workers, slots=slots)
        if size is None:
            self._wait_for_hosts(job, f"{job.spec.name} needs {job.workers} slots, and there are {describe(hosts)}")
            return None
        job.lost_since = None
        return size

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

    def _start(self, job: JobState, group: Group) -> None:
        if len(group.slots) < job.workers:
            logger.warning("%s: %d workers instead of %d; hosts are gone", job.spec.name, len(group.slots), job.workers)
        job.state, job.group = "running", group
        job.attempts += 1
        job.started = job.started or self._clock()
        self._emit("started", job)
        self._backend.start(job.spec, group, attempt=job.attempts)

    def _failed(self, job: JobState, failure: Failure) -> None:
        if self._kill_at is not None and failure.kind != "user":
            self._stopped(job, None if failure.kind in ("stopped", "reclaimed") else failure.line())
            return
        job.failures.append(failure)
        decision = decide(self._retries, job.failures)
        if decision.again:
            job.state, job.not_before = "waiting", self._clock() + decision.wait_s
            self._emit("retried", job, error=f"{failure.line()} ({decision.reason})")
        else:
            job.give_up_reason = "" if failure.kind == "user" else decision.reason
            self._give_up(job, "\n".join(filter(None, [failure.text(), job.give_up_reason])))

    def _give_up(self, job: JobState, error: str) -> None:
        job.state, job.error, job.ended = "failed", error, self._clock()
        self._emit("failed", job, error=error)

    def _wait_for_hosts(self, job: JobState, why: str) -> None:
        """Let a ready job wait for hosts; fail it when it has waited for too long."""
        now, limit = self._clock(), self._retries.lost_host_timeout_s
        if job.lost_since is None:
            job.lost_since = now
            self._emit("waiting", job, error=f"{why}; waiting up to {limit:.0f} s for more")
        if now - job.lost_since >= limit:
            self._give_up(job, f"{why}, and no more came within {limit:.0f} s")

    def _in_state(self, state: str) -> list[JobState]:
        return [job for job in self._jobs.values() if job.state == state]

    def _busy(self) -> set[Slot]:
        return {slot for job in self._in_state("running") if job.group is not None for slot in job.group.slots}

    def _emit(self, event: str, job: JobState, *, error: str | None = None, up: Started | None = None) -> None:
        self._on_event(
            Event(
                time=self._clock(),
                event=event,  # type: ignore[arg-type]  # only the literals of Event are passed here
                job=job.spec.name,
                group=job.group,
                attempt=job.attempts,
                error=error,
                up=up,
            )
        )
