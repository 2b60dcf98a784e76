"""Run jobs that need each other on groups of slots, each as soon as its group is free."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.schedule.backend import Backend
from cluster.schedule.job import Ended, Event, Failure, JobOutcome, JobSpec, OnEvent, Started
from cluster.schedule.job_state import FINAL, JobState
from cluster.schedule.placement import move, plan_jobs
from cluster.schedule.retry import RetryPolicy, decide
from cluster.schedule.slots import Placement, Slot
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the loop looks up without news, so that signals and retries in waiting are served."""


@dataclass(frozen=True)
class StopRule:
    """asked: whether the run shall stop; looked at about once a second. timeout_s: how long jobs may take to leave."""

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
    """Run all `jobs` and return how each ended, by name; a job that fails takes only those down that need it.

    Once `stop` asks for it, what runs is asked to save and leave, and nothing more is started.

    Raises:
        UserError: a job asks for more slots than the backend's hosts have; nothing was started. And what
            `stop.asked` raises.
    """
    run = _Run(jobs, backend=backend, retries=retries, on_event=on_event, clock=clock)
    rule = stop or StopRule()
    try:
        while not run.over:
            if rule.asked():
                run.stop_soon(rule.timeout_s)
            else:
                run.skip_blocked()
                run.find_places()
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
        self._jobs = {job.name: JobState(job, plan[job.name]) for job in jobs}
        self._kill_at: float | None = None

    @property
    def over(self) -> bool:
        return all(p.state in FINAL for p in self._jobs.values())

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
            if done and free and progress.lost_since is None and self._clock() >= progress.not_before:
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

    def stop_soon(self, timeout_s: float) -> None:
        """At the first call, ask what runs to leave, and give up the rest; in the end, kill what still runs."""
        if self._kill_at is None:
            self._kill_at = self._clock() + timeout_s
            for progress in self._in_state("waiting"):
                self._stopped(progress)
            for progress in self._in_state("running"):
                if not self._backend.ask(progress.job.name):
                    self._backend.stop(progress.job.name)
                    self._stopped(progress)
        elif self._clock() >= self._kill_at:
            for progress in self._in_state("running"):
                self._backend.stop(progress.job.name)
                self._stopped(progress, f"it did not leave within {timeout_s:.0f} s")

    def _stopped(self, progress: JobState, error: str | None = None) -> None:
        progress.state, progress.error, progress.ended = "stopped", error, self._clock()
        if progress.attempts:
            self._tell("stopped", progress, error=progress.error)

    def stop_all(self) -> None:
        """Kill what still runs: the driver leaves at once, or has an error of its own."""
        for progress in self._in_state("running"):
            self._backend.stop(progress.job.name)
            self._stopped(progress, "the driver left")

    def _start(self, progress: JobState) -> None:
        progress.state = "running"
        progress.attempts += 1
        progress.started = progress.started or self._clock()
        self._tell("started", progress)
        self._backend.start(progress.job, progress.placement.group, attempt=progress.attempts)

    def _failed(self, progress: JobState, failure: Failure) -> None:
        if self._kill_at is not None and failure.kind != "user":
            self._stopped(progress, None if failure.kind == "stopped" else failure.line())
            return
        progress.failures.append(failure)
        decision = decide(self._retries, progress.failures)
        if decision.again:
            progress.state, progress.not_before = "waiting", self._clock() + decision.wait_s
            self._tell("retried", progress, error=f"{failure.line()} ({decision.reason})")
            self._move_off_lost_hosts([progress, *self._in_state("waiting")])
        else:
            progress.verdict = "" if failure.kind == "user" else decision.reason
            self._give_up(progress, "\n".join(filter(None, [failure.text(), progress.verdict])))

    def _give_up(self, progress: JobState, error: str) -> None:
        progress.state, progress.error, progress.ended = "failed", error, self._clock()
        self._tell("failed", progress, error=error)

    def find_places(self) -> None:
        """Look again for those that lost their hosts; give up those that could start, and have waited too long."""
        lost = [progress for progress in self._in_state("waiting") if progress.lost_since is not None]
        if lost:
            self._move_off_lost_hosts(lost)

    def _move_off_lost_hosts(self, jobs: Sequence[JobState]) -> None:
        """Move those of `jobs` whose hosts are no longer all there; where too few slots are left, they wait."""
        hosts = self._backend.hosts()
        names = {host.name for host in hosts}
        for progress in dict.fromkeys(jobs):
            group = progress.placement.group
            if names.issuperset(group.hosts):
                progress.lost_since = None
                continue
            try:
                moved = move(hosts, progress.job, group, busy=self._busy())
            except UserError as error:
                self._wait_for_hosts(progress, str(error))
                continue
            progress.placement, progress.lost_since = Placement(progress.placement.wave, moved), None
            logger.warning("%s moves from %s to %s", progress.job.name, group.hosts, moved.hosts)

    def _wait_for_hosts(self, progress: JobState, why: str) -> None:
        if not all(self._jobs[need].state == "done" for need in progress.job.needs):
            progress.lost_since = math.inf
            return
        now, limit = self._clock(), self._retries.lost_host_timeout_s
        if progress.lost_since is None or progress.lost_since == math.inf:
            progress.lost_since = now
            self._tell("waiting", progress, error=f"{why}; it waits up to {limit:.0f} s for them")
        if now - progress.lost_since >= limit:
            self._give_up(progress, f"{why}, and none came back within {limit:.0f} s")

    def _in_state(self, state: str) -> list[JobState]:
        return [progress for progress in self._jobs.values() if progress.state == state]

    def _busy(self) -> set[Slot]:
        return {slot for progress in self._in_state("running") for slot in progress.placement.group.slots}

    def _tell(self, event: str, progress: JobState, *, error: str | None = None, up: Started | None = None) -> None:
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
