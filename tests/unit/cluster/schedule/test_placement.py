"""How many workers jobs get, which start first and where, as tables."""

from dataclasses import replace

import pytest

from cluster.schedule.job import JobSpec
from cluster.schedule.placement import choose, plan_workers, remaining_work, workers_left, workers_that_fit
from cluster.schedule.slots import Group, Host, Slot
from data_tools.errors import UserError

REGIONS = ("top", "bottom", "left", "right")


def hosts_of(*slots: int) -> list[Host]:
    return [Host("abcd"[i], n) for i, n in enumerate(slots)]


# slots of each host -> workers a job, hosts of the groups that start at once
FOUR_REGIONS: list[tuple[tuple[int, ...], int, list[dict[str, int]]]] = [
    ((1,), 1, [{"a": 1}]),
    ((2,), 1, [{"a": 1}] * 2),
    ((3,), 1, [{"a": 1}] * 3),
    ((4,), 1, [{"a": 1}] * 4),
    ((6,), 1, [{"a": 1}] * 4),  # 2, 2, 1, 1 would end no sooner
    ((8,), 2, [{"a": 2}] * 4),
    ((32,), 8, [{"a": 8}] * 4),
    # two hosts
    ((1, 0), 1, [{"a": 1}]),
    ((2, 1), 1, [{"b": 1}, {"a": 1}, {"a": 1}]),  # the smallest host that has room comes first
    ((3, 2), 1, [{"b": 1}, {"b": 1}, {"a": 1}, {"a": 1}]),
    ((4, 4), 2, [{"a": 2}, {"a": 2}, {"b": 2}, {"b": 2}]),
    ((5, 3), 2, [{"b": 2}, {"a": 2}, {"a": 2}, {"a": 1, "b": 1}]),  # one straddles: half idle is too dear
    ((8, 8), 4, [{"a": 4}, {"a": 4}, {"b": 4}, {"b": 4}]),
    # three and four hosts
    ((4, 4, 4), 2, [{"a": 2}, {"a": 2}, {"b": 2}, {"b": 2}]),  # three workers each would straddle
    ((8, 4, 4), 4, [{"b": 4}, {"c": 4}, {"a": 4}, {"a": 4}]),
    ((1, 1, 1, 0), 1, [{"a": 1}, {"b": 1}, {"c": 1}]),
    ((2, 2, 1, 1), 1, [{"c": 1}, {"d": 1}, {"a": 1}, {"a": 1}]),
    ((8, 8, 8, 8), 8, [{"a": 8}, {"b": 8}, {"c": 8}, {"d": 8}]),
]


@pytest.mark.parametrize(("slots", "workers", "first"), FOUR_REGIONS, ids=str)
def test_four_regions(slots: tuple[int, ...], workers: int, first: list[dict[str, int]]) -> None:
    hosts = hosts_of(*slots)
    assert workers_that_fit(hosts, REGIONS) == workers
    groups = choose(dict.fromkeys(REGIONS, workers), hosts=hosts, busy=())
    assert [group.hosts for group in groups.values()] == first


@pytest.mark.parametrize("slots", [(), (0,), (0, 0, 0, 0)])
def test_no_slot_is_rejected(slots: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="no slot to run top, bottom, left, right on; found 0 slots"):
        workers_that_fit(hosts_of(*slots), REGIONS)


def test_more_workers_than_slots_are_rejected() -> None:
    with pytest.raises(UserError, match=r"5 workers per job .* 4 slots .*; request fewer in cluster\.workers_per"):
        workers_that_fit(hosts_of(2, 2), REGIONS, workers=5)


# hosts, jobs, global batch, bound -> workers
FITTING = [
    ((4, 4, 2), 1, None, None, 10),  # a single job takes every slot
    ((6,), 1, 128, None, 4),  # 6 and 5 do not divide 128
    ((10,), 2, 50, None, 5),
    ((7,), 1, 7, None, 7),
    ((3,), 1, 16, None, 2),
    ((4, 4, 4), 1, 96, None, 12),
    ((4, 4, 4), 4, 96, None, 2),
    ((5,), 1, 1, None, 1),
    # bounded by the number of workers that the job has in the complete run
    ((4,), 1, None, 1, 1),  # a job left over of four that shared the slots
    ((8, 8), 1, None, 4, 4),
    ((4,), 1, None, 9, 4),
    ((2,), 4, None, 3, 1),  # fewer slots than before: as many as there are
    ((5, 3), 2, None, 3, 3),  # no smaller number for the sake of one host: the figures would change
]


@pytest.mark.parametrize(("slots", "jobs", "batch", "bound", "workers"), FITTING)
def test_free_choices(slots: tuple[int, ...], jobs: int, batch: int | None, bound: int | None, workers: int) -> None:
    names = [str(i) for i in range(jobs)]
    assert workers_that_fit(hosts_of(*slots), names, global_batch=batch, max_workers=bound) == workers


def test_each_level_of_a_recipe_takes_the_slots() -> None:
    whole = JobSpec("whole", "m:f", {}, global_batch=128)
    regions = [JobSpec(name, "m:f", {}, depends_on=("whole",), global_batch=128) for name in REGIONS]
    stack = JobSpec("stack", "m:f", {}, workers=1, depends_on=REGIONS)
    assert plan_workers(hosts_of(8, 8), [whole, *regions, stack]) == {
        "whole": 16, **dict.fromkeys(REGIONS, 4), "stack": 1
    }  # fmt: skip


def test_a_resumed_job_keeps_its_number_beside_jobs_that_once_came_later() -> None:
    """`b` and `d` follow `a`; a run that is resumed after `a` has them at the same time as `c`."""
    starts = {"a": (), "b": ("a",), "c": (), "d": ("a",)}
    jobs = [JobSpec(name, "m:f", {}, depends_on=first, global_batch=128) for name, first in starts.items()]
    planned = plan_workers(hosts_of(8), jobs)
    assert planned == dict.fromkeys("abcd", 4)
    left = [replace(job, depends_on=(), max_workers=planned[job.name]) for job in jobs if job.name != "a"]
    assert plan_workers(hosts_of(8), left) == dict.fromkeys("bcd", 4)


# job, planned workers, slots left -> workers
LEFT = [
    (JobSpec("x", "m:f", {}), 8, 9, 8),
    (JobSpec("x", "m:f", {}), 8, 5, 5),
    (JobSpec("x", "m:f", {}, global_batch=128), 8, 5, 4),
    (JobSpec("x", "m:f", {}, workers=8), 8, 5, None),
    (JobSpec("x", "m:f", {}), 8, 0, None),
]


@pytest.mark.parametrize(("job", "planned", "slots", "workers"), LEFT)
def test_workers_after_a_loss(job: JobSpec, planned: int, slots: int, workers: int | None) -> None:
    assert workers_left(job, planned, slots=slots) == workers


def test_remaining_work_follows_the_longest_chain() -> None:
    jobs = [
        JobSpec("first", "m:f", {}, work=8),
        JobSpec("long", "m:f", {}, work=6, depends_on=("first",)),
        JobSpec("short", "m:f", {}, work=1, depends_on=("first",)),
        JobSpec("last", "m:f", {}, work=2, depends_on=("long", "short")),
    ]
    assert remaining_work(jobs, {"first": 4, "long": 2, "short": 1, "last": 1}) == {
        "first": 7.0, "long": 5.0, "short": 3.0, "last": 2.0
    }  # fmt: skip


def slots(text: str) -> list[Slot]:
    return [Slot(name[0], int(name[1:])) for name in text.split()]


# ready jobs, busy slots, earlier groups -> groups, on hosts a and b of four slots each
CHOICES: list[tuple[dict[str, int], str, dict[str, str], dict[str, str]]] = [
    ({}, "", {}, {}),
    ({"x": 2}, "", {}, {"x": "a0 a1"}),
    ({"x": 2}, "a0 a1 a2", {}, {"x": "b0 b1"}),  # inside one host
    ({"x": 2}, "a0 a1 a2 b0 b1 b2", {}, {"x": "a3 b3"}),  # rather than idle slots
    ({"x": 6, "y": 4, "z": 2}, "", {}, {"x": "a0 a1 a2 a3 b0 b1", "z": "b2 b3"}),  # y does not fit, z does
    ({"x": 1, "y": 4}, "", {}, {"x": "b0", "y": "a0 a1 a2 a3"}),  # the largest is placed first
    ({"x": 2}, "", {"x": "b2 b3"}, {"x": "b2 b3"}),  # where it ran before
    ({"x": 2}, "b2", {"x": "b2 b3"}, {"x": "b0 b1"}),
    ({"x": 2}, "", {"x": "c0 c1"}, {"x": "a0 a1"}),  # that host is gone
    ({"x": 2}, "", {"x": "a0 a1 a2 a3"}, {"x": "a0 a1"}),  # fewer workers than before
    ({"x": 8}, "a0", {}, {}),
    ({"x": 8}, "c0", {}, {"x": "a0 a1 a2 a3 b0 b1 b2 b3"}),  # busy on a host that is gone
]


@pytest.mark.parametrize(("ready", "busy", "before", "expected"), CHOICES)
def test_choice(ready: dict[str, int], busy: str, before: dict[str, str], expected: dict[str, str]) -> None:
    earlier = {name: Group(tuple(slots(text))) for name, text in before.items()}
    groups = choose(ready, hosts=hosts_of(4, 4), busy=slots(busy), before=earlier)
    assert {name: sorted(group.slots) for name, group in groups.items()} == {
        name: slots(text) for name, text in expected.items()
    }


# workers, busy slots, warm groups -> group, on hosts a and b of four slots each
WARM = [
    (2, "", ["a2 a3"], "a2 a3"),
    (2, "", ["b1 b0"], "b1 b0"),  # as good as on a; rank 0 stays where it was
    (2, "", ["a2 a3 b0"], "a0 a1"),  # of another size
    (2, "a2", ["a2 a3"], "a0 a1"),  # busy
    (2, "a0", ["b0 b1"], "a1 a2"),  # b would lose the room for four
    (2, "", ["a0 b0"], "a0 a1"),  # over two hosts where one has room
    (6, "", ["b0 b1 b2 b3 a2 a3"], "b0 b1 b2 b3 a2 a3"),
    (2, "", ["c0 c1"], "a0 a1"),  # that host is gone
    (2, "", ["b0 b1", "a0 a1"], "a0 a1"),  # the order in which jobs ended decides nothing
    (2, "", ["b2 b3", "b0 b1"], "b0 b1"),
]


@pytest.mark.parametrize(("workers", "busy", "warm", "expected"), WARM)
def test_of_equally_good_groups_a_warm_one_is_chosen(workers: int, busy: str, warm: list[str], expected: str) -> None:
    groups = [Group(tuple(slots(text))) for text in warm]
    chosen = choose({"x": workers}, hosts=hosts_of(4, 4), busy=slots(busy), warm=groups)
    assert list(chosen["x"].slots) == slots(expected)


def test_two_jobs_get_two_warm_groups() -> None:
    groups = [Group(tuple(slots(text))) for text in ("a1", "a3")]
    chosen = choose({"x": 1, "y": 1}, hosts=hosts_of(4), busy=[], warm=groups)
    assert [chosen["x"].slots, chosen["y"].slots] == [groups[0].slots, groups[1].slots]
