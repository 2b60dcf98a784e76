"""Predicts the scheduler's decisions for jobs whose durations are known. Runs nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cluster.schedule.job import JobSpec
from cluster.schedule.placement import choose, remaining_work
from cluster.schedule.slots import Group, Host


@dataclass(frozen=True)
class Span:
    """Where and when a job runs, in seconds since the start of the run."""

    group: Group
    start: float
    end: float


def simulate(
    hosts: Sequence[Host],
    jobs: Sequence[JobSpec],
    *,
    workers: Mapping[str, int],
    seconds: Callable[[str, Group], float],
) -> dict[str, Span]:
    """Where and when `run_jobs` runs each job, by name in the order of their starts.

    workers: see `plan_workers`. seconds: the duration of a job on a group. Workers that wait for a next job wait until
    one starts on their slots.

    Raises:
        ValueError: a job has more workers than there are slots.
    """
    urgency = remaining_work(jobs, workers)
    waiting = sorted(jobs, key=lambda job: -urgency[job.name])
    running: dict[str, Span] = {}
    spans: dict[str, Span] = {}
    warm: list[Group] = []
    reusing = {job.name for job in jobs if job.reuse_workers}
    now = 0.0
    while waiting or running:
        done = spans.keys() - running.keys()
        ready = {job.name: workers[job.name] for job in waiting if done.issuperset(job.depends_on)}
        busy = [slot for span in running.values() for slot in span.group.slots]
        for name, group in choose(ready, hosts=hosts, busy=busy, warm=warm).items():
            running[name] = spans[name] = Span(group, now, now + seconds(name, group))
            warm = [idle for idle in warm if set(idle.slots).isdisjoint(group.slots)]
        waiting = [job for job in waiting if job.name not in spans]
        if not running:
            raise ValueError(f"{', '.join(job.name for job in waiting)}: more workers than slots")
        now = min(span.end for span in running.values())
        warm += [span.group for name, span in running.items() if span.end <= now and name in reusing]
        running = {name: span for name, span in running.items() if span.end > now}
    return spans
