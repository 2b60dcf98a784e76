"""What a reservation requests from Ray, and what it takes of what its driver holds."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.config import ClusterConfig
from cluster.on_ray.hosts import Node
from cluster.on_ray.reports import Failed
from cluster.on_ray.worlds import reservation as module
from cluster.on_ray.worlds.reservation import Bundle, Bundles, Reservation
from cluster.schedule.job import Failure
from cluster.schedule.slots import Group, Slot

NODE = Node(name="a", node_id="n", address="10.0.0.1", cpus=4.0, gpus=0, own=True, slots=4)


class FakeRay:
    """Grants a request after so many waits; None: never."""

    def __init__(self) -> None:
        self.grants: list[int | None] = []
        self.requests: list[Any] = []
        self.removed: list[Any] = []

    def placement_group(self, bundles: list[dict[str, float]], **_: Any) -> Any:
        left = [self.grants.pop(0) if self.grants else 0]

        def wait(timeout_s: float) -> bool:
            if left[0]:
                left[0] -= 1
            return left[0] == 0

        self.requests.append(SimpleNamespace(bundles=len(bundles), wait=wait))
        return self.requests[-1]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    util = SimpleNamespace(placement_group=fake.placement_group, remove_placement_group=fake.removed.append)
    monkeypatch.setattr(module, "ray", SimpleNamespace(util=util))
    return fake


@pytest.fixture
def bundles(fake: FakeRay) -> Bundles:
    return Bundles(remove=fake.removed.append)


def reservation(bundles: Bundles, *slots: int) -> Reservation:
    nodes: Any = SimpleNamespace(alive=lambda: [NODE])
    group = Group(tuple(Slot("a", index) for index in slots))
    return Reservation("top", group, nodes=nodes, config=ClusterConfig(), gpu=False, bundles=bundles)


def ignore() -> None:
    """Nothing ends the wait."""


def test_parts_release_their_group_together(fake: FakeRay, bundles: Bundles) -> None:
    whole = reservation(bundles, 0, 1)
    whole.hold(ignore)
    (group,) = fake.requests
    assert whole.bundles == [Bundle(group, 0), Bundle(group, 1)]
    first, second = whole.split()
    assert [first.bundles, second.bundles] == [[Bundle(group, 0)], [Bundle(group, 1)]]
    whole.release()
    first.release()
    assert fake.removed == [], "the other part is in use"
    second.release()
    second.release()
    assert fake.removed == [group]


def test_a_free_part_is_taken_and_only_the_rest_is_requested(fake: FakeRay, bundles: Bundles) -> None:
    whole = reservation(bundles, 0, 1)
    whole.hold(ignore)
    first, _ = whole.split()
    first.release()
    mixed = reservation(bundles, 2, 0)
    mixed.hold(ignore)
    assert [request.bundles for request in fake.requests] == [2, 1]
    assert mixed.bundles == [Bundle(fake.requests[1], 0), Bundle(fake.requests[0], 0)]


def test_a_part_that_becomes_free_while_a_job_waits_is_taken(fake: FakeRay, bundles: Bundles) -> None:
    """Its slot can never be granted to a new group, since the other part keeps the old one."""
    whole = reservation(bundles, 0, 1)
    whole.hold(ignore)
    first, second = whole.split()
    fake.grants.append(None)
    again = reservation(bundles, 0)
    again.hold(first.release)
    assert again.bundles == [Bundle(fake.requests[0], 0)]
    assert fake.removed == [fake.requests[1]]
    second.release()
    again.release()
    assert fake.removed == [fake.requests[1], fake.requests[0]]


@pytest.mark.parametrize("grants", [None, 2])
def test_nothing_is_held_by_an_attempt_that_is_killed_while_it_waits(
    fake: FakeRay, bundles: Bundles, grants: int | None
) -> None:
    fake.grants.append(grants)
    killed = reservation(bundles, 0)

    def kill() -> None:
        killed.release()
        if grants is None:
            raise Failed(Failure("start", "the attempt was killed"))

    ended: Callable[[], object] = lambda: killed.hold(kill)  # noqa: E731
    if grants is None:
        with pytest.raises(Failed):
            ended()
    else:
        ended()  # It was granted at the same moment; the attempt's end releases it.
    killed.release()
    assert set(map(id, fake.removed)) == {id(fake.requests[0])}
    assert bundles.take([("n", Slot("a", 0), killed.share)]) == {}
