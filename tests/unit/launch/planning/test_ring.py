"""The cost of a ring all-reduce, and what shares its links."""

from dataclasses import replace

import pytest

from cluster.schedule.slots import Group
from launch.planning.ring import Network, busy_slots, ring_seconds, rings_per_link
from tests.unit.launch.planning.groups import group

NETWORK = Network(
    intra_host=100, intra_host_latency_s=0, inter_host=10, inter_host_latency_s=0, cycle_s=0, buffer_bytes=1e9
)


@pytest.mark.parametrize(
    ("size_", "ranks", "changes", "rings", "seconds"),
    [
        (800.0, group("a"), {}, 1, 0.0),  # no other rank
        (0.0, group("a", "a"), {}, 1, 0.0),
        (800.0, group("a", "a"), {}, 1, 8.0),  # 2 rounds of 400 bytes at 100 per second
        (800.0, group("a", "a", "a", "a"), {}, 1, 12.0),  # 6 rounds of 200
        (800.0, group("a", "a", "b", "b"), {}, 1, 120.0),  # the same at 10 per second: the slowest link decides
        (800.0, group("a", "a", "b", "b"), {}, 3, 360.0),  # which three rings share
        (800.0, group("a", "b"), {"inter_host": 500.0}, 1, 8.0),  # the intra-host link is slower
        (800.0, group("a", "a"), {"intra_host_latency_s": 1.0}, 1, 10.0),  # one more second per round
        (
            800.0,
            group("a", "a"),
            {"intra_host_latency_s": 1.0, "buffer_bytes": 300},
            1,
            14.0,
        ),  # and for each of 3 buffers
        (800.0, group("a", "b"), {"inter_host_latency_s": 1.0}, 1, 82.0),
    ],
)
def test_seconds_of_a_ring(size_: float, ranks: Group, changes: dict[str, float], rings: int, seconds: float) -> None:
    assert ring_seconds(size_, ranks, network=replace(NETWORK, **changes), rings_per_link=rings) == pytest.approx(
        seconds
    )


def test_jobs_side_by_side_share_links_and_slots() -> None:
    groups = {"x": group("a", "b"), "y": group("b", "c"), "z": group("c", "c")}
    others = {name: [groups[other] for other in groups if other != name] for name in groups}
    assert {name: rings_per_link(groups[name], others[name]) for name in groups} == {"x": 2, "y": 2, "z": 1}
    assert {name: busy_slots(groups[name], others[name]) for name in groups} == {"x": 2, "y": 3, "z": 3}
    assert (rings_per_link(groups["x"], []), busy_slots(groups["x"], [])) == (1, 1)
