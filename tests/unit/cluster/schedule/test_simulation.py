"""The predicted schedule: no slot idles beside a job that fits, and runs are about as short as they can be."""

from collections.abc import Mapping, Sequence

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from cluster.schedule.job import JobSpec
from cluster.schedule.placement import plan_workers
from cluster.schedule.simulation import Span, simulate
from cluster.schedule.slots import Host

TOLERANCE = 1.1
"""A run may take this many times the lower bound of its length."""


def schedule(hosts: Sequence[Host], jobs: Sequence[JobSpec]) -> dict[str, Span]:
    workers = plan_workers(hosts, jobs)
    work = {job.name: job.work for job in jobs}
    return simulate(hosts, jobs, workers=workers, seconds=lambda name, group: work[name] / len(group.slots))


def regions(*work: float, start: str) -> list[JobSpec]:
    return [JobSpec(f"region{i}", "m:f", {}, workers=1, work=w, depends_on=(start,)) for i, w in enumerate(work)]


def test_a_region_does_not_wait_for_the_slot_of_a_long_job() -> None:
    """Two slots; a long job beside four regions that start from the same one: the regions follow on the other slot."""
    first = JobSpec("holistic_128", "m:f", {}, workers=1, work=10)
    long = JobSpec("holistic_256", "m:f", {}, workers=1, work=20, depends_on=("holistic_128",))
    jobs = [first, long, *regions(5, 5, 5, 5, start="holistic_128")]
    spans = schedule([Host("a", 2)], jobs)
    assert max(span.end for span in spans.values()) == 30
    assert sorted(spans[f"region{i}"].start for i in range(4)) == [10, 15, 20, 25]


@pytest.mark.parametrize(("reuses", "host"), [((True, True), "a"), ((False, True), "b"), ((False, False), "a")])
def test_a_job_goes_to_workers_that_wait_for_one(reuses: tuple[bool, bool], host: str) -> None:
    """Two jobs of two workers fill two hosts, and end at the same time; a third one follows."""
    pair = [JobSpec(name, "m:f", {}, workers=2, reuse_workers=reuse) for name, reuse in zip("xy", reuses, strict=True)]
    spans = schedule([Host("a", 2), Host("b", 2)], [*pair, JobSpec("z", "m:f", {}, workers=2, depends_on=("x", "y"))])
    assert list(spans["z"].group.hosts) == [host]


def test_a_job_wider_than_the_hosts_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="x"):
        simulate([Host("a", 1)], [JobSpec("x", "m:f", {})], workers={"x": 2}, seconds=lambda name, group: 1.0)


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Host], list[JobSpec]]:
    """Hosts, and a recipe like ours: one or two whole-page jobs, regions that start from one of them, a stack."""
    hosts = [Host(f"h{i}", draw(st.integers(1, 8))) for i in range(draw(st.integers(1, 4)))]
    chain = ["w0", "w1"][: draw(st.integers(1, 2))]
    total = sum(host.slots for host in hosts)
    alone = draw(st.booleans()) and len(chain) == 2
    jobs = []
    for place, name in enumerate(chain):
        narrow = draw(st.integers(1, total)) if alone and place == 1 else None
        depends_on = (chain[place - 1],) if place else ()
        jobs.append(JobSpec(name, "m:f", {}, workers=narrow, work=draw(st.floats(1, 100)), depends_on=depends_on))
    start = chain[0] if alone else chain[-1]
    workers = draw(st.none() | st.integers(1, min(host.slots for host in hosts)))
    for i in range(draw(st.integers(1, 8))):
        work = draw(st.floats(5, 50))
        jobs.append(JobSpec(f"r{i}", "m:f", {}, workers=workers, work=work, depends_on=(start,)))
    members = tuple(job.name for job in jobs)
    return hosts, [*jobs, JobSpec("stack", "m:f", {}, workers=1, work=0.1, depends_on=members)]


@settings(max_examples=300, deadline=None)
@given(families())
def test_no_slot_idles_while_a_ready_job_fits(family: tuple[list[Host], list[JobSpec]]) -> None:
    hosts, jobs = family
    spans = schedule(hosts, jobs)
    workers = plan_workers(hosts, jobs)
    total = sum(host.slots for host in hosts)
    assert set(spans) == {job.name for job in jobs}
    for job in jobs:
        ready = max((spans[name].end for name in job.depends_on), default=0.0)
        assert spans[job.name].start >= ready
        for moment in {span.end for span in spans.values() if ready <= span.end < spans[job.name].start} | {ready}:
            if moment < spans[job.name].start:
                assert total - busy_at(moment, spans) < workers[job.name], (job.name, moment)
    for span in spans.values():
        others = [o for o in spans.values() if o is not span and o.start < span.end and span.start < o.end]
        assert all(set(span.group.slots).isdisjoint(other.group.slots) for other in others)


def busy_at(moment: float, spans: Mapping[str, Span]) -> int:
    return sum(len(span.group.slots) for span in spans.values() if span.start <= moment < span.end)


# hosts, workers of a region, seconds of each region, of a long job beside them (0: none) -> nothing; all like our runs
FAMILIES = [
    ((1,), 1, (30, 31, 29, 30), 0),
    ((2,), 1, (30, 31, 29, 30), 0),
    ((2,), 1, (20, 21, 19, 20), 80),
    ((4,), 1, (30, 31, 29, 30), 0),
    ((4, 4), 2, (60, 61, 59, 60), 0),
    ((8, 8), 4, (30, 31, 29, 30), 0),
    ((4, 4), 2, (30, 31, 29, 30), 60),
    ((2, 2), 2, (30, 31, 29, 30), 0),
    ((3,), 1, (30, 31, 29, 30, 30, 30), 0),
    ((2,), 1, (10, 11, 9, 10, 30, 31, 29, 30), 40),
]


@pytest.mark.parametrize(("slots", "workers", "seconds", "beside"), FAMILIES)
def test_a_run_is_about_as_short_as_it_can_be(
    slots: tuple[int, ...], workers: int, seconds: tuple[int, ...], beside: int
) -> None:
    hosts = [Host("abcd"[i], count) for i, count in enumerate(slots)]
    jobs = [JobSpec("first", "m:f", {}, work=100)]
    for i, length in enumerate(seconds):
        work = float(length * workers)
        jobs.append(JobSpec(f"r{i}", "m:f", {}, workers=workers, work=work, depends_on=("first",)))
    if beside:
        jobs.append(JobSpec("long", "m:f", {}, workers=workers, work=float(beside * workers), depends_on=("first",)))
    makespan = max(span.end for span in schedule(hosts, jobs).values())
    assert makespan <= TOLERANCE * lower_bound(sum(slots), workers, [*seconds, *filter(None, [beside])])


def lower_bound(slots: int, workers: int, lengths: Sequence[float]) -> float:
    """The first job, then the larger of: the longest job, the work spread over all places, and what k * places + 1
    jobs need of a place: the k + 1 shortest of the longest of them (Graham 1969, doi:10.1137/0117039)."""
    places, ordered = slots // workers, sorted(lengths, reverse=True)
    crowded = [
        sum(sorted(ordered[: k * places + 1])[: k + 1])
        for k in range(1, len(ordered))
        if k * places + 1 <= len(ordered)
    ]
    return 100 / slots + max(ordered[0], sum(lengths) / places, *crowded, 0.0)
