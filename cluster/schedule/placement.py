"""A placement for every job of a run, from the jobs, what each needs, and the hosts."""

from collections.abc import Collection, Sequence
from graphlib import CycleError, TopologicalSorter

from cluster.schedule.job import JobSpec
from cluster.schedule.slots import Group, Host, Placement, Slot, place, plan_waves
from data_tools.errors import UserError


def plan_jobs(hosts: Sequence[Host], jobs: Sequence[JobSpec]) -> dict[str, Placement]:
    """Placements by job name; waves count on from one level of needs to the next.

    Jobs of one level that ask for the same share the slots at once; jobs that ask for different numbers of
    workers are planned one kind after the other.

    Raises:
        UserError: a job asks for more slots than there are.
        ValueError: names are not unique, or a need is unknown or circular.
    """
    plan: dict[str, Placement] = {}
    first_wave = 0
    for level in _levels(jobs):
        kinds = list(dict.fromkeys((job.workers, job.divides, job.most) for job in level))
        for workers, divides, most in kinds:
            names = [job.name for job in level if (job.workers, job.divides, job.most) == (workers, divides, most)]
            part = plan_waves(hosts, names, workers=workers, divides=divides, most=most)
            plan |= {name: Placement(first_wave + p.wave, p.group) for name, p in part.items()}
            first_wave += 1 + max(p.wave for p in part.values())
    return plan


def _levels(jobs: Sequence[JobSpec]) -> list[list[JobSpec]]:
    """The jobs by how long a chain of needs stands before them, in the given order within a level."""
    known = {job.name: job for job in jobs}
    if len(known) != len(jobs):
        raise ValueError(f"job names are not unique: {[job.name for job in jobs]}")
    for job in jobs:
        if unknown := set(job.needs) - set(known):
            raise ValueError(f"job {job.name} needs {sorted(unknown)}, which are not among the jobs")
    try:
        order = list(TopologicalSorter({job.name: job.needs for job in jobs}).static_order())
    except CycleError as error:
        raise ValueError(f"jobs need each other in a circle: {error.args[1]}") from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[need] for need in known[name].needs), default=-1)
    return [[job for job in jobs if depth[job.name] == d] for d in range(1 + max(depth.values(), default=-1))]


def move(hosts: Sequence[Host], job: JobSpec, group: Group, *, busy: Collection[Slot]) -> Group:
    """A group for `job` on the `hosts` that are left, now that a host of its old `group` is gone.

    As many workers as before where they fit, else the next smaller number that the job allows; free slots
    first.

    Raises:
        UserError: no allowed number of workers fits.
    """
    total = sum(host.slots for host in hosts)
    before = len(group.slots)
    if job.workers is None:
        sizes = [n for n in range(min(before, total), 0, -1) if job.divides is None or job.divides % n == 0]
    else:
        sizes = [before] if before <= total else []
    if not sizes:
        gone = sorted(set(group.hosts) - {host.name for host in hosts})
        raise UserError(f"{job.name} needs {before} slots, and {total} are left without {', '.join(gone)}")
    names = {host.name for host in hosts}
    there = [slot for slot in busy if slot.host in names]
    return place(hosts, sizes[0], busy=there if total - len(there) >= sizes[0] else ())
