"""Groups of slots, and the cores of a slot, as tables."""

import pytest

from cluster.schedule.slots import Host, Slot, cores_of, place
from data_tools.errors import UserError


def test_place_avoids_busy_slots() -> None:
    hosts = [Host("a", 2), Host("b", 2)]
    group = place(hosts, 2, busy=[Slot("a", 0)])
    assert group.hosts == {"b": 2}
    assert place(hosts, 2, busy=[Slot("a", 0), Slot("b", 1)]).hosts == {"a": 1, "b": 1}
    with pytest.raises(UserError, match=r"3 free slots are .* 4 slots \(a: 2, b: 2\), 2 of them busy"):
        place(hosts, 3, busy=[Slot("a", 0), Slot("b", 1)])


@pytest.mark.parametrize(
    ("slots", "workers", "hosts"),
    [
        ((2, 4, 3), 4, {"b": 4}),
        ((2, 4, 3), 3, {"c": 3}),  # the fullest host that has room
        ((2, 4, 3), 6, {"b": 4, "a": 2}),  # few hosts: the largest, then the one that the rest fits best
        ((3, 3), 5, {"a": 3, "b": 2}),
    ],
)
def test_a_group_spans_hosts_only_where_it_must(slots: tuple[int, ...], workers: int, hosts: dict[str, int]) -> None:
    group = place([Host("abc"[i], count) for i, count in enumerate(slots)], workers)
    assert group.hosts == hosts
    names = [slot.host for slot in group.slots]
    assert names == sorted(names, key=list(hosts).index), "the ranks of one host follow each other"


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
