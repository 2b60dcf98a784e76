"""A pool of actors, one for each GPU or host, that call one function with task after task; answers come in order."""

import contextlib
import importlib
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import ClusterConfig
from cluster.on_ray.hosts import Node, Nodes, connect
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

AHEAD = 4
"""Tasks for each actor that may be finished before an earlier one is."""

_DEATHS = 2
"""Actors that may die of a task before the call fails."""


@dataclass
class _Task:
    number: int
    payload: Any
    deaths: int = 0


@dataclass
class _Member:
    """An actor with the task at hand, and the next one, which it may prepare."""

    host: str
    actor: Any
    current: _Task | None = None
    upcoming: _Task | None = None

    def take(self, tasks: "_Tasks", *, most: int) -> bool:
        """Take the upcoming task and reserve the next one; False if none is left."""
        self.current = self.upcoming or tasks.take(most=most)
        self.upcoming = tasks.take(most=most) if self.current else None
        return self.current is not None

    def call(self) -> Any:
        """Start the current task; Ray's reference to its result."""
        current, upcoming = (None if task is None else task.payload for task in (self.current, self.upcoming))
        return self.actor.call.remote(current, upcoming)


class ActorPool:
    """Actors that are ready; see `actor_pool`."""

    def __init__(self, members: Sequence[_Member], *, address: str | None) -> None:
        self.address = address
        """Of the cluster that was joined; None for a private Ray."""
        self._members = list(members)

    @property
    def hosts(self) -> list[str]:
        """The host of each actor."""
        return [member.host for member in self._members]

    def map(self, payloads: Iterable[Any]) -> Iterator[Any]:
        """The function's results for `payloads`, in their order; payloads are taken as they are needed.

        The function receives a payload and the one that the same actor gets next (None: not known yet). A task of an
        actor that died is given to another.

        Raises:
            UserError: the function raised one, the same task killed two actors, or no actor is left.
            RuntimeError: the function raised another exception, which is a bug.
        """
        tasks = _Tasks(payloads)
        running: dict[Any, _Member] = {}
        while True:
            for member in self._members:
                if member.current is None and member.take(tasks, most=AHEAD * len(self._members)):
                    running[member.call()] = member
            if not running:
                return
            (ready,), _ = ray.wait(list(running), num_returns=1)
            member = running.pop(ready)
            try:
                tasks.finish(member, ray.get(ready))
            except ray.exceptions.RayTaskError as error:
                raise _raised(member.host, error) from None
            except ray.exceptions.RayError as error:
                self._lost(member, tasks, error)
            yield from tasks.in_order()

    def _lost(self, member: _Member, tasks: "_Tasks", error: Exception) -> None:
        self._members.remove(member)
        reason = str(error).strip().splitlines()[0]
        if member.current is not None:
            member.current.deaths += 1
            if member.current.deaths >= _DEATHS:
                raise UserError(f"{member.host}: a process died twice at the same files ({reason})")
        if not self._members:
            raise UserError(f"{member.host}: the last process died ({reason})")
        logger.warning("%s: lost (%s); the others take its files", member.host, reason)
        tasks.again.extend(task for task in (member.current, member.upcoming) if task is not None)


class _Tasks:
    """The tasks that are left, and the results that wait for those of earlier tasks."""

    def __init__(self, payloads: Iterable[Any]) -> None:
        self.again: deque[_Task] = deque()
        self._fresh = (_Task(number, payload) for number, payload in enumerate(payloads))
        self._done: dict[int, Any] = {}
        self._taken = self._given = 0

    def take(self, *, most: int) -> _Task | None:
        """The next task; None if none is left, or if `most` tasks are at work or wait to be given out."""
        if self.again:
            return self.again.popleft()
        task = next(self._fresh, None) if self._taken - self._given < most else None
        self._taken += task is not None
        return task

    def finish(self, member: _Member, result: Any) -> None:
        """Take the result of the member's task."""
        if member.current is not None:
            self._done[member.current.number] = result
            member.current = None

    def in_order(self) -> Iterator[Any]:
        """Results whose turn it is."""
        while self._given in self._done:
            yield self._done.pop(self._given)
            self._given += 1


def _raised(host: str, error: Any) -> Exception:
    cause = error.cause
    return UserError(f"{host}: {cause}") if isinstance(cause, UserError) else RuntimeError(f"on {host}:\n{error}")


@contextlib.contextmanager
def actor_pool(
    config: ClusterConfig, target: str, setup: Mapping[str, Any], *, gpus: int | None = None
) -> Iterator[ActorPool]:
    """Actors on the cluster that `config` names, or on a private Ray; each calls `target(setup)` once for its function.

    target: "module:function". gpus: actors with a GPU each (0: none has one; None: as many as there are). Without a
    GPU, there is one actor on each host. setup receives the keys `gpu`, whether the actor has one, and `share`, the
    number of actors on its host.

    Raises:
        UserError: the address does not answer, there are fewer GPUs, or a host cannot set up.
    """
    address = connect(config)
    try:
        places = _places(Nodes(config).alive(), gpus)
        members = [_member(node, config, gpu=gpu) for node, gpu in places]
        shares = Counter(node.node_id for node, _ in places)
        starts = [
            member.actor.start.remote(target, {**setup, "gpu": gpu, "share": shares[node.node_id]})
            for member, (node, gpu) in zip(members, places, strict=True)
        ]
        ready = _ready(members, starts, timeout_s=config.start_timeout_s)
        yield ActorPool(ready, address=address)
    finally:
        ray.shutdown()  # Ends the actors and all processes that they have started.


def _ready(members: Sequence[_Member], starts: Sequence[Any], *, timeout_s: float) -> list[_Member]:
    """The members that are set up; a host that is busy or gone is left out.

    Raises:
        UserError: a host cannot set up, or none is left.
    """
    found: list[_Member] = []
    reason = f"no free CPU or GPU within {timeout_s:g} s"
    late = ray.wait(starts, num_returns=len(starts), timeout=timeout_s)[1] if starts else []
    for member, start in zip(members, starts, strict=True):
        try:
            if start not in late:
                ray.get(start)
                found.append(member)
                continue
        except ray.exceptions.RayTaskError as error:
            raise _raised(member.host, error) from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
        logger.warning("%s: %s; continuing without it", member.host, reason)
        ray.kill(member.actor)
    if not found:
        raise UserError(f"no host of the Ray cluster is ready: {reason}")
    return found


def _places(nodes: Sequence[Node], gpus: int | None) -> list[tuple[Node, bool]]:
    """The node of each actor and whether it has a GPU."""
    slots = [node for node in nodes for _ in range(int(node.gpus))]
    if gpus is not None and gpus > len(slots):
        raise UserError(f"--gpus {gpus}: Ray has {len(slots)} GPUs on {len(nodes)} hosts; give at most that many")
    if gpus == 0 or not slots:
        return [(node, False) for node in nodes if node.cpus >= 1]
    return [(node, True) for node in slots[:gpus]]


def _member(node: Node, config: ClusterConfig, *, gpu: bool) -> _Member:
    strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    environment = {"env_vars": dict(config.environment)} if config.environment else {}
    options = {"num_cpus": 1, "num_gpus": int(gpu), "scheduling_strategy": strategy, "runtime_env": environment}
    return _Member(node.name, ray.remote(_Actor).options(**options, max_restarts=0, max_task_retries=0).remote())


class _Actor:
    def __init__(self) -> None:
        self._function: Any = None

    def start(self, target: str, setup: Mapping[str, Any]) -> None:
        module, _, function = target.partition(":")
        self._function = getattr(importlib.import_module(module), function)(setup)

    def call(self, payload: Any, upcoming: Any) -> Any:
        return self._function(payload, upcoming)
