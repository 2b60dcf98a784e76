"""The planner of groups and waves, as tables."""

import pytest

from cluster.schedule.slots import Host, Placement, Slot, cores_of, place, plan_waves
from data_tools.errors import UserError

REGIONS = ("top", "bottom", "left", "right")


def hosts_of(*slots: int) -> list[Host]:
    return [Host("abcd"[i], n) for i, n in enumerate(slots)]


# slots of each host -> (waves, workers a job, groups of the first wave as {host: slots})
FOUR_REGIONS: list[tuple[tuple[int, ...], int, int, list[dict[str, int]]]] = [
    ((1,), 4, 1, [{"a": 1}]),
    ((2,), 2, 1, [{"a": 1}] * 2),
    ((3,), 2, 1, [{"a": 1}] * 2),  # two waves of two: a third at once would not spare a wave
    ((4,), 1, 1, [{"a": 1}] * 4),
    ((5,), 1, 1, [{"a": 1}] * 4),
    ((6,), 1, 1, [{"a": 1}] * 4),  # 2, 2, 1, 1 would end no sooner
    ((8,), 1, 2, [{"a": 2}] * 4),
    ((16,), 1, 4, [{"a": 4}] * 4),
    ((32,), 1, 8, [{"a": 8}] * 4),
    # two hosts
    ((1, 0), 4, 1, [{"a": 1}]),
    ((1, 1), 2, 1, [{"a": 1}, {"b": 1}]),
    ((2, 1), 2, 1, [{"b": 1}, {"a": 1}]),  # the smallest host that has room comes first
    ((2, 2), 1, 1, [{"a": 1}, {"a": 1}, {"b": 1}, {"b": 1}]),
    ((3, 2), 1, 1, [{"b": 1}, {"b": 1}, {"a": 1}, {"a": 1}]),
    ((3, 3), 1, 1, [{"a": 1}, {"a": 1}, {"a": 1}, {"b": 1}]),
    ((4, 4), 1, 2, [{"a": 2}, {"a": 2}, {"b": 2}, {"b": 2}]),
    ((5, 3), 1, 2, [{"b": 2}, {"a": 2}, {"a": 2}, {"a": 1, "b": 1}]),  # one straddles: half idle is too dear
    ((8, 8), 1, 4, [{"a": 4}, {"a": 4}, {"b": 4}, {"b": 4}]),
    ((16, 16), 1, 8, [{"a": 8}, {"a": 8}, {"b": 8}, {"b": 8}]),
    # four hosts
    ((1, 0, 0, 0), 4, 1, [{"a": 1}]),
    ((1, 1, 0, 0), 2, 1, [{"a": 1}, {"b": 1}]),
    ((1, 1, 1, 0), 2, 1, [{"a": 1}, {"b": 1}]),
    ((1, 1, 1, 1), 1, 1, [{"a": 1}, {"b": 1}, {"c": 1}, {"d": 1}]),
    ((2, 1, 1, 1), 1, 1, [{"b": 1}, {"c": 1}, {"d": 1}, {"a": 1}]),
    ((2, 2, 1, 1), 1, 1, [{"c": 1}, {"d": 1}, {"a": 1}, {"a": 1}]),
    ((2, 2, 2, 2), 1, 2, [{"a": 2}, {"b": 2}, {"c": 2}, {"d": 2}]),
    ((4, 4, 4, 4), 1, 4, [{"a": 4}, {"b": 4}, {"c": 4}, {"d": 4}]),
    ((8, 8, 8, 8), 1, 8, [{"a": 8}, {"b": 8}, {"c": 8}, {"d": 8}]),
    # three hosts of four: three workers a job would make the fourth group straddle all three
    ((4, 4, 4), 1, 2, [{"a": 2}, {"a": 2}, {"b": 2}, {"b": 2}]),
    # unlike hosts
    ((8, 4, 4), 1, 4, [{"b": 4}, {"c": 4}, {"a": 4}, {"a": 4}]),
]


@pytest.mark.parametrize(("slots", "waves", "workers", "first"), FOUR_REGIONS, ids=str)
def test_four_regions(slots: tuple[int, ...], waves: int, workers: int, first: list[dict[str, int]]) -> None:
    hosts = hosts_of(*slots)
    plan = plan_waves(hosts, REGIONS)
    assert 1 + max(p.wave for p in plan.values()) == waves
    assert {len(p.group.slots) for p in plan.values()} == {workers}
    assert [p.group.hosts for p in plan.values() if p.wave == 0] == first
    check_disjoint(hosts, plan)


def check_disjoint(hosts: list[Host], plan: dict[str, Placement]) -> None:
    there = {Slot(h.name, i) for h in hosts for i in range(h.slots)}
    for wave in {p.wave for p in plan.values()}:
        used = [slot for p in plan.values() if p.wave == wave for slot in p.group.slots]
        assert len(used) == len(set(used))
        assert set(used) <= there


@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 5, 6, 8, 16, 32])
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("workers", [None, 1, 2, 4])
def test_every_plan_is_disjoint_and_short(gpus: int, count: int, jobs: int, workers: int | None) -> None:
    hosts = hosts_of(*[gpus // count + (i < gpus % count) for i in range(count)])
    names = [f"job{i}" for i in range(jobs)]
    if workers is not None and workers > gpus:
        with pytest.raises(UserError, match=f"{workers} workers per job .* {gpus} slot"):
            plan_waves(hosts, names, workers=workers)
        return
    plan = plan_waves(hosts, names, workers=workers)
    check_disjoint(hosts, plan)
    assert list(plan) == names
    assert 1 + max(p.wave for p in plan.values()) == -(-jobs // (gpus // (workers or 1)))
    if all(host.slots % (workers or 1) == 0 for host in hosts) and workers is not None:
        assert all(len(p.group.hosts) == 1 for p in plan.values())


@pytest.mark.parametrize("slots", [(), (0,), (0, 0), (0, 0, 0, 0)])
def test_no_slot_is_refused(slots: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="no slot to run top, bottom, left, right on; found 0 slots"):
        plan_waves(hosts_of(*slots), REGIONS)


def test_a_single_job_takes_every_slot() -> None:
    assert plan_waves(hosts_of(4, 4, 2), ["holistic"])["holistic"].group.hosts == {"a": 4, "b": 4, "c": 2}


# hosts, jobs, global batch -> workers
DIVIDES = [
    ((6,), 1, 128, 4),  # 6 and 5 do not divide 128
    ((10,), 2, 50, 5),
    ((7,), 1, 7, 7),
    ((3,), 1, 16, 2),
    ((4, 4, 4), 1, 96, 12),
    ((4, 4, 4), 4, 96, 2),
    ((5,), 1, 1, 1),
]


@pytest.mark.parametrize(("slots", "jobs", "batch", "workers"), DIVIDES)
def test_workers_divide_the_global_batch(slots: tuple[int, ...], jobs: int, batch: int, workers: int) -> None:
    plan = plan_waves(hosts_of(*slots), [str(i) for i in range(jobs)], global_batch=batch)
    assert {len(p.group.slots) for p in plan.values()} == {workers}


def test_a_group_larger_than_any_host_takes_few_hosts() -> None:
    plan = plan_waves(hosts_of(2, 4, 3), ["a", "b"], workers=4)
    assert plan["a"].group.hosts == {"b": 4}
    assert plan["b"].group.hosts == {"c": 3, "a": 1}


def test_ranks_of_one_host_follow_each_other() -> None:
    slots = plan_waves(hosts_of(3, 3), ["a"], workers=5)["a"].group.slots
    assert [str(slot) for slot in slots] == ["a:0", "a:1", "a:2", "b:0", "b:1"]


def test_place_avoids_busy_slots() -> None:
    hosts = hosts_of(2, 2)
    group = place(hosts, 2, busy=[Slot("a", 0)])
    assert group.hosts == {"b": 2}
    assert place(hosts, 2, busy=[Slot("a", 0), Slot("b", 1)]).hosts == {"a": 1, "b": 1}
    with pytest.raises(UserError, match=r"3 free slots are .* 4 slots \(a: 2, b: 2\), 2 of them busy"):
        place(hosts, 3, busy=[Slot("a", 0), Slot("b", 1)])


@pytest.mark.parametrize(
    ("slots", "jobs", "max_workers", "expected"),
    [
        ([4], 1, None, 4),
        ([4], 1, 1, 1),  # a job left over of four that shared the slots
        ([8, 8], 1, 4, 4),
        ([4], 1, 9, 4),
        ([2], 4, 3, 1),  # fewer slots than before: as many as there are
    ],
)
def test_a_bound_on_a_free_choice(slots: list[int], jobs: int, max_workers: int | None, expected: int) -> None:
    plan = plan_waves(hosts_of(*slots), [str(i) for i in range(jobs)], max_workers=max_workers)
    assert {len(placement.group.slots) for placement in plan.values()} == {expected}


@pytest.mark.parametrize(
    ("cores", "slots", "expected"),
    [
        ([0, 1], 2, [[0], [1]]),
        ([0, 1, 2, 3], 2, [[0, 1], [2, 3]]),
        ([2, 3, 8, 9, 10], 2, [[2, 3], [8, 9, 10]]),  # those that the process may use, and none is left over
        ([0, 1, 2, 3], 3, [[0], [1], [2, 3]]),
        ([4, 5], 3, [[4], [5], [4]]),  # more slots than cores
        ([7], 1, [[7]]),
    ],
)
def test_the_cores_of_a_slot(cores: list[int], slots: int, expected: list[list[int]]) -> None:
    assert [cores_of(slot, slots, cores=cores) for slot in range(slots)] == expected
