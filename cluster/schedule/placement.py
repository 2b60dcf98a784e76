"""Places every job of a run, from the jobs, their dependencies and the hosts."""

from collections.abc import Collection, Sequence
from graphlib import CycleError, TopologicalSorter

from cluster.schedule.job import JobSpec
from cluster.schedule.slots import Group, Host, Placement, Slot, place, plan_waves
from data_tools.errors import UserError


def plan_jobs(hosts: Sequence[Host], jobs: Sequence[JobSpec]) -> dict[str, Placement]:
    """Placements by job name; waves count on from one level of dependencies to the next.

    Jobs of one level with the same request share the slots at once; jobs with different requests are planned one kind
    after the other.

    Raises:
        UserError: a job requests more slots than there are.
        ValueError: names are not unique, or a dependency is unknown or circular.
    """
    plan: dict[str, Placement] = {}
    first_wave = 0
    for level in _levels(jobs):
        kinds = list(dict.fromkeys((job.workers, job.global_batch, job.max_workers) for job in level))
        for workers, global_batch, max_workers in kinds:
            request = (workers, global_batch, max_workers)
            names = [job.name for job in level if (job.workers, job.global_batch, job.max_workers) == request]
            part = plan_waves(hosts, names, workers=workers, global_batch=global_batch, max_workers=max_workers)
            plan |= {name: Placement(first_wave + p.wave, p.group) for name, p in part.items()}
            first_wave += 1 + max(p.wave for p in part.values())
    return plan


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


def move(hosts: Sequence[Host], job: JobSpec, *, group: Group, busy: Collection[Slot]) -> Group:
    """A group for `job` on the remaining `hosts`, after a host of its old `group` is gone.

    As many workers as before if they fit, otherwise the next smaller number that the job allows; on free slots if
    possible.

    Raises:
        UserError: no allowed number of workers fits.
    """
    total = sum(host.slots for host in hosts)
    before = len(group.slots)
    if job.workers is None:
        sizes = [n for n in range(min(before, total), 0, -1) if job.global_batch is None or job.global_batch % n == 0]
    else:
        sizes = [before] if before <= total else []
    if not sizes:
        gone = sorted(set(group.hosts) - {host.name for host in hosts})
        raise UserError(f"{job.name} needs {before} slots, and without {', '.join(gone)} {total} are left")
    names = {host.name for host in hosts}
    there = [slot for slot in busy if slot.host in names]
    return place(hosts, sizes[0], busy=there if total - len(there) >= sizes[0] else ())
