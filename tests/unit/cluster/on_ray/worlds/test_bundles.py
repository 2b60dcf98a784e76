"""Placement groups that worlds share, and when each is removed."""

from typing import Any

import pytest

from cluster.on_ray.worlds.reservation import Bundle, Bundles, Place, Share
from cluster.schedule.slots import Slot


@pytest.fixture
def removed() -> list[str]:
    return []


@pytest.fixture
def bundles(removed: list[Any]) -> Bundles:
    return Bundles(remove=removed.append)


def place(index: int, *, node: str = "n", cpus: float = 1.0) -> Place:
    return node, Slot("a", index), Share(cpus, 0)


def test_a_group_is_removed_with_its_last_bundle(bundles: Bundles, removed: list[str]) -> None:
    bundles.add([place(0), place(1)], "one")
    bundles.add([place(2)], "two")
    bundles.release([place(0)])
    assert removed == []
    bundles.release([place(2)])
    assert removed == ["two"]
    bundles.release([place(1)])
    bundles.release([place(1), place(0)])
    assert removed == ["two", "one"]
    assert bundles.take([place(0), place(1), place(2)]) == {}


def test_a_free_bundle_of_a_group_in_use_is_taken_once(bundles: Bundles, removed: list[str]) -> None:
    bundles.add([place(0), place(1), place(2)], "one")
    assert bundles.take([place(0)]) == {}, "it is used"
    bundles.release([place(0), place(1)])
    elsewhere = [place(0, node="m"), place(0, cpus=0.5)]
    assert bundles.take([place(1), *elsewhere]) == {place(1): Bundle("one", 1)}
    assert bundles.take([place(0), place(1)]) == {place(0): Bundle("one", 0)}
    bundles.release([place(2), place(0)])
    assert removed == []
    bundles.release([place(1)])
    assert removed == ["one"]


def test_a_slot_that_is_reserved_again_is_no_longer_that_of_the_removed_group(
    bundles: Bundles, removed: list[str]
) -> None:
    bundles.add([place(0)], "one")
    bundles.release([place(0)])
    bundles.add([place(0)], "two")
    bundles.release([place(0)])
    assert removed == ["one", "two"]
