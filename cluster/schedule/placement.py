"""How many workers each job gets, which job starts next, and on which slots. Pure arithmetic on jobs and hosts."""

import math
from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from cluster.schedule.job import JobSpec
from cluster.schedule.slots import Group, Host, Slot, describe, place
from data_tools.errors import UserError


def plan_workers(hosts: Sequence[Host], jobs: Sequence[JobSpec]) -> dict[str, int]:
    """The number of workers of each job, by name. It decides the figures of a run, so it never depends on timing.

    Jobs that may run at the same time and make the same request get the same number.

    Raises:
        UserError: a job requests more slots than there are.
        ValueError: names are not unique, or a dependency is unknown or circular.
    """
    workers: dict[str, int] = {}
    for level in _levels(jobs):
        alike: dict[tuple[int | None, ...], list[str]] = {}
        for job in level:
            alike.setdefault((job.workers, job.global_batch, job.max_workers), []).append(job.name)
        for (requested, global_batch, max_workers), names in alike.items():
            fitting = workers_that_fit(
                hosts, names, workers=requested, global_batch=global_batch, max_workers=max_workers
            )
            workers |= dict.fromkeys(names, fitting)
    return workers


def workers_that_fit(
    hosts: Sequence[Host],
    jobs: Sequence[str],
    *,
    workers: int | None = None,
    global_batch: int | None = None,
    max_workers: int | None = None,
) -> int:
    """The number of workers of each of `jobs`, which may all run at once.

    `workers` where that is not null. Otherwise as many as fit: a single job takes every slot; several jobs take fewer
    where that keeps each of them on one host and still uses more than half of the slots. `global_batch` restricts the
    choice to its divisors, since every rank takes an equal part of a batch. `max_workers` bounds it; where there are as
    many slots, each job gets that number, since it has been planned beside other jobs than those of a resumed run.

    Raises:
        UserError: there is no slot, or fewer than `workers`.
    """
    total = sum(host.slots for host in hosts)
    if total < 1:
        raise UserError(f"no slot to run {', '.join(jobs)} on; found {describe(hosts)}")
    if workers is not None:
        if not 1 <= workers <= total:
            raise UserError(
                f"{workers} workers per job are requested ({', '.join(jobs)}), found {describe(hosts)}; request fewer "
                "in cluster.workers_per_stage or workers_per_region, or add hosts"
            )
        return workers
    rounds = math.ceil(len(jobs) / total)
    at_once = math.ceil(len(jobs) / rounds)
    if max_workers is not None and max_workers <= total:
        return divisors(global_batch, most=max_workers)[0]
    sizes = divisors(global_batch, most=total // at_once)
    if at_once > 1 and max_workers is None:
        for size in sizes:
            on_one_host = sum(host.slots // size for host in hosts)
            if on_one_host >= at_once and 2 * size * at_once > total:
                return size
    return sizes[0]


def divisors(global_batch: int | None, *, most: int) -> list[int]:
    """The numbers of workers up to `most` that divide the batch (None: all of them), the largest first."""
    return [n for n in range(most, 0, -1) if global_batch is None or global_batch % n == 0]


def workers_left(job: JobSpec, planned: int, *, slots: int) -> int | None:
    """The number of workers of `job` where hosts are gone and `slots` are left; None where no allowed number fits.

    The planned number if it fits, otherwise the next smaller one that the job allows.
    """
    if planned <= slots:
        return planned
    smaller = divisors(job.global_batch, most=slots) if job.workers is None else []
    return smaller[0] if smaller else None


def remaining_work(jobs: Sequence[JobSpec], workers: Mapping[str, int]) -> dict[str, float]:
    """The length of the longest chain of jobs that begins with each job, by name: the sum of work / workers."""
    followers: dict[str, list[JobSpec]] = {job.name: [] for job in jobs}
    for job in jobs:
        for name in job.depends_on:
            followers[name].append(job)
    length: dict[str, float] = {}
    for job in (job for level in reversed(_levels(jobs)) for job in level):
        after = max((length[follower.name] for follower in followers[job.name]), default=0.0)
        length[job.name] = job.work / workers[job.name] + after
    return length


def choose(
    ready: Mapping[str, int],
    *,
    hosts: Sequence[Host],
    busy: Collection[Slot],
    before: Mapping[str, Group] | None = None,
    warm: Collection[Group] = (),
) -> dict[str, Group]:
    """The jobs that start now, with their groups; every other job of `ready` needs more slots than are left.

    ready: numbers of workers by job, the most urgent job first. busy: slots that jobs hold. before: groups that jobs
    had in an earlier attempt; they get them back where all their slots are free. warm: groups whose workers wait for a
    job; of equally good groups, a job gets one of these.
    """
    offered = {Slot(host.name, index) for host in hosts for index in range(host.slots)}
    taken = offered & set(busy)
    left = len(offered) - len(taken)
    chosen: list[str] = []
    for name, size in ready.items():
        if size <= left:
            chosen.append(name)
            left -= size
    groups: dict[str, Group] = {}
    for name in chosen:
        group = (before or {}).get(name)
        if group and len(group.slots) == ready[name] and set(group.slots) <= offered - taken:
            groups[name] = group
            taken.update(group.slots)
    # The largest first: they are the hardest to keep on one host.
    for name in sorted((name for name in chosen if name not in groups), key=lambda name: -ready[name]):
        groups[name] = place(hosts, ready[name], busy=taken, warm=warm)
        taken.update(groups[name].slots)
    return {name: groups[name] for name in chosen}


def _levels(jobs: Sequence[JobSpec]) -> list[list[JobSpec]]:
    """The jobs by the length of their longest chain of dependencies, in the given order within a level."""
    known = {job.name: job for job in jobs}
    if len(known) != len(jobs):
        raise ValueError(f"job names are not unique: {[job.name for job in jobs]}")
    for job in jobs:
        if unknown := set(job.depends_on) - set(known):
            raise ValueError(f"job {job.name} depends on {sorted(unknown)}, which are not among the jobs")
    try:
        order = list(TopologicalSorter({job.name: job.depends_on for job in jobs}).static_order())
    except CycleError as error:
        raise ValueError(f"jobs depend on each other in a circle: {error.args[1]}") from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[need] for need in known[name].depends_on), default=-1)
    return [[job for job in jobs if depth[job.name] == d] for d in range(1 + max(depth.values(), default=-1))]
