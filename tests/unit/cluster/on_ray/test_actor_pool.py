"""A pool of actors: answers in order, tasks ahead, lost actors, and mistakes; Ray itself is stood in for."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from cluster.on_ray import actor_pool
from cluster.on_ray.actor_pool import AHEAD, ActorPool, _Member, _places, _ready
from cluster.on_ray.hosts import Node
from data_tools.errors import UserError


@dataclass(frozen=True)
class Reference:
    """What Ray returns for a call."""

    number: int
    dies: bool
    raises: Exception | None


class Actor:
    """Squares numbers. dies_at: numbers at which it dies; what it was given is kept."""

    def __init__(self, *, dies_at: tuple[int, ...] = (), raises: Exception | None = None) -> None:
        self.given: list[tuple[int, int | None]] = []
        self.call = SimpleNamespace(remote=self._remote)
        self._dies_at, self._raises = dies_at, raises

    def _remote(self, number: int, upcoming: int | None) -> Any:
        self.given.append((number, upcoming))
        return Reference(number, number in self._dies_at, self._raises)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a pool of actors that finish in a random order."""
    order = random.Random(3)

    def wait(references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return [order.choice(references)], []

    def get(reference: Any) -> int:
        if reference.dies:
            raise ray.exceptions.RayActorError(error_msg="died")
        if reference.raises:
            raise reference.raises
        return int(reference.number**2)

    monkeypatch.setattr(actor_pool.ray, "wait", wait)
    monkeypatch.setattr(actor_pool.ray, "get", get)
    return lambda *actors: ActorPool([_Member(f"host{i}", a) for i, a in enumerate(actors)], address=None)


def test_results_come_in_the_order_of_the_payloads_which_are_taken_as_needed(pool: Any) -> None:
    taken: list[int] = []

    def payloads() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = pool(Actor(), Actor(), Actor()).map(payloads())
    assert next(results) == 0
    assert len(taken) <= 3 * AHEAD + 3
    assert list(results) == [number**2 for number in range(1, 50)]


def test_an_actor_is_shown_its_next_task(pool: Any) -> None:
    actor = Actor()
    assert list(pool(actor).map(range(3))) == [0, 1, 4]
    assert actor.given == [(0, 1), (1, 2), (2, None)]


@pytest.mark.parametrize("count", [0, 1])
def test_few_payloads_leave_actors_idle(pool: Any, count: int) -> None:
    assert list(pool(Actor(), Actor()).map(range(count))) == [0] * count


def test_the_tasks_of_a_lost_actor_are_taken_by_the_others(pool: Any) -> None:
    actors = pool(Actor(dies_at=tuple(range(3, 100))), Actor())
    assert list(actors.map(range(20))) == [number**2 for number in range(20)]
    assert actors.hosts == ["host1"]


@pytest.mark.parametrize(
    "actors",
    [
        [Actor(dies_at=(4,)), Actor(dies_at=(4,)), Actor(dies_at=(4,))],  # the same task kills two
        [Actor(dies_at=tuple(range(9)))],  # none is left
    ],
)
def test_what_cannot_be_done_is_an_error_in_one_line(pool: Any, actors: list[Actor]) -> None:
    with pytest.raises(UserError, match=r"host\d: .*died"):
        list(pool(*actors).map(range(9)))


def test_a_mistake_names_the_host_and_a_bug_keeps_its_traceback(pool: Any) -> None:
    def failing(cause: Exception) -> Actor:
        return Actor(raises=ray.exceptions.RayTaskError("call", "Traceback", cause))

    with pytest.raises(UserError, match="host0: stack is not finished"):
        list(pool(failing(UserError("stack is not finished"))).map([1]))
    with pytest.raises(RuntimeError, match="Traceback"):
        list(pool(failing(ValueError("bad"))).map([1]))


def node(name: str, *, gpus: int = 0, cpus: int = 4) -> Node:
    return Node(name, name, name, cpus, gpus, own=False, slots=1)


@pytest.mark.parametrize(
    ("nodes", "gpus", "expected"),
    [
        ([node("a"), node("b")], None, [("a", False), ("b", False)]),
        ([node("a", gpus=2), node("b", gpus=1)], None, [("a", True), ("a", True), ("b", True)]),
        ([node("a", gpus=2), node("b", gpus=1)], 1, [("a", True)]),
        ([node("a", gpus=2), node("b")], 0, [("a", False), ("b", False)]),
        ([node("head", cpus=0), node("b", gpus=1)], None, [("b", True)]),
    ],
)
def test_one_actor_for_each_gpu_or_host(nodes: list[Node], gpus: int | None, expected: list[tuple[str, bool]]) -> None:
    assert [(place.name, gpu) for place, gpu in _places(nodes, gpus)] == expected


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="--gpus 4"):
        _places([node("a", gpus=2)], 4)


def test_hosts_that_are_busy_or_gone_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[str] = []

    def get(start: str) -> None:
        if start == "gone":
            raise ray.exceptions.RayActorError(error_msg="gone")

    monkeypatch.setattr(actor_pool.ray, "wait", lambda starts, num_returns, timeout: ([], ["busy"]))
    monkeypatch.setattr(actor_pool.ray, "get", get)
    monkeypatch.setattr(actor_pool.ray, "kill", killed.append)
    members = [_Member(name, name) for name in ("busy", "gone", "fine")]
    assert [member.host for member in _ready(members, ["busy", "gone", "up"], timeout_s=1)] == ["fine"]
    assert killed == ["busy", "gone"]
    with pytest.raises(UserError, match="no host"):
        _ready(members[:2], ["busy", "gone"], timeout_s=1)
