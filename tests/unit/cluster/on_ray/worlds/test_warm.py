"""Idle worlds: which job gets one, and when one is killed."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cluster.on_ray.worlds.reservation import Share
from cluster.on_ray.worlds.warm import WarmWorlds
from cluster.schedule.slots import Group, Slot

LONG_S = 600.0
SHARE = Share(1.0, 0)


def group(text: str) -> Group:
    return Group(tuple(Slot(name[0], int(name[1:])) for name in text.split()))


def nodes(*ids: str) -> list[Any]:
    return [SimpleNamespace(node_id=one) for one in ids]


@dataclass(eq=False)
class FakeWorld:
    """A world that records whether it was killed."""

    group: Group
    by_rank: list[Any]
    share: Share = SHARE
    ended: threading.Event = field(default_factory=threading.Event)

    def kill(self) -> None:
        self.ended.set()

    end = kill

    def split(self) -> list["FakeWorld"]:
        pairs = zip(self.group.slots, self.by_rank, strict=True)
        return [FakeWorld(Group((slot,)), [node], self.share) for slot, node in pairs]

    @property
    def killed(self) -> bool:
        return self.ended.is_set()


def one_world(text: str = "a0 a1", *ids: str) -> FakeWorld:
    return FakeWorld(group(text), nodes(*(ids or ("0", "0"))))


def test_a_job_on_the_same_slots_gets_the_world_once() -> None:
    warm, world = WarmWorlds(LONG_S), one_world()
    warm.give(world)
    assert warm.groups == [world.group]
    assert warm.take(group("a0 a1"), nodes("0", "0"), Share(1.0, 0)) is world
    assert warm.groups == []
    assert warm.take(group("a0 a1"), nodes("0", "0"), Share(1.0, 0)) is None
    assert not world.killed


def test_a_world_that_does_not_fit_is_killed_where_the_job_needs_its_slots() -> None:
    cases = [  # what the job takes: slots, nodes, share
        ("a0", nodes("0"), Share(1.0, 1)),  # fewer workers, with GPUs
        ("a1 a0", nodes("0", "0"), Share(1.0, 0)),  # other ranks
        ("a1 a2", nodes("0", "0"), Share(1.0, 0)),
        ("a0 a1", nodes("9", "9"), Share(1.0, 0)),  # the host was started again
        ("a0 a1", nodes("0", "0"), Share(1.0, 1)),  # with GPUs
        ("a0 a1", nodes("0", "0"), Share(2.0, 0)),
    ]
    for slots, by_rank, share in cases:
        warm, world = WarmWorlds(LONG_S), one_world()
        warm.give(world)
        assert warm.take(group(slots), by_rank, share) is None, slots
        assert world.killed
        assert warm.groups == []


def test_jobs_of_one_worker_get_the_parts_of_a_world() -> None:
    warm, world = WarmWorlds(LONG_S), one_world("a0 a1 b0", "0", "0", "1")
    warm.give(world)
    part = warm.take(group("a1"), nodes("0"), SHARE)
    assert part is not None
    assert (part.group, part.killed) == (group("a1"), False)
    assert sorted(map(str, warm.groups)) == sorted(map(str, [group("a0"), group("b0")])), "the others are idle"
    other = warm.take(group("b0"), nodes("1"), SHARE)
    assert other is not None
    warm.give(part)
    assert warm.take(group("a0 a1"), nodes("0", "0"), SHARE) is None, "parts do not become one world again"
    assert (part.killed, other.killed) == (True, False)
    assert warm.groups == []


def test_two_jobs_at_once_get_the_two_parts() -> None:
    for _ in range(20):
        warm, found = WarmWorlds(LONG_S), dict[str, Any]()
        warm.give(one_world())
        start = threading.Barrier(2)

        def take(slot: str, warm: WarmWorlds = warm, found: dict[str, Any] = found, start: Any = start) -> None:
            start.wait()
            found[slot] = warm.take(group(slot), nodes("0"), SHARE)

        threads = [threading.Thread(target=take, args=[slot]) for slot in ("a0", "a1")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {slot: part.group for slot, part in found.items()} == {"a0": group("a0"), "a1": group("a1")}


def test_a_world_whose_part_would_not_fit_is_killed() -> None:
    for world_share, by_rank, share in [
        (SHARE, nodes("9"), SHARE),  # the host was started again
        (SHARE, nodes("0"), Share(0.5, 0)),
        (Share(1.0, 1), nodes("0"), SHARE),
        (Share(1.0, 1), nodes("0"), Share(1.0, 1)),  # workers see each other's GPUs
    ]:
        warm, world = WarmWorlds(LONG_S), one_world()
        world.share = world_share
        warm.give(world)
        assert warm.take(group("a0"), by_rank, share) is None
        assert world.killed
        assert warm.groups == []


def test_a_world_on_other_slots_stays() -> None:
    warm, world = WarmWorlds(LONG_S), one_world()
    warm.give(world)
    assert warm.take(group("a2 b0"), nodes("0", "1"), Share(1.0, 0)) is None
    assert not world.killed
    assert warm.groups == [world.group]


def test_an_idle_world_is_killed_after_a_while() -> None:
    warm, world = WarmWorlds(0.01), one_world()
    warm.give(world)
    assert world.ended.wait(20)
    assert warm.groups == []


def test_a_world_on_a_host_that_is_taken_back_is_killed() -> None:
    warm, there, elsewhere = WarmWorlds(LONG_S), one_world("a0 b0", "0", "1"), one_world("a1", "0")
    for world in (there, elsewhere):
        warm.give(world)
    warm.leave({"1"})
    assert (there.killed, elsewhere.killed) == (True, False)


def test_at_the_end_no_world_is_kept() -> None:
    warm, before, after = WarmWorlds(LONG_S), one_world("a0", "0"), one_world("a1", "0")
    warm.give(before)
    warm.close()
    warm.give(after)
    assert before.killed
    assert after.killed
