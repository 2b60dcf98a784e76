"""Signals and kills the worker processes of one attempt, on all its hosts."""

import contextlib
from collections.abc import Callable, Sequence

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.liveness import process
from cluster.on_ray.hosts import Node, Nodes
from cluster.schedule.job import Worker

ANSWER_S = 30.0
"""How long a task on another host may take, including the start of a Ray worker for it."""


class Processes:
    """The processes of `workers`, which run on the nodes `by_rank`."""

    def __init__(self, workers: Sequence[Worker], by_rank: Sequence[Node], *, nodes: Nodes) -> None:
        self._workers, self._by_rank, self._nodes = workers, by_rank, nodes
        self._on: dict[str, list[tuple[int, int]]] = {}
        self._own: set[str] = set()
        for one, node in zip(workers, by_rank, strict=False):
            self._on.setdefault(node.node_id, []).append((one.pid, one.ticks))
            self._own |= {node.node_id} if node.own else set()

    def send(self, number: int) -> None:
        """Send signal `number` to all reachable processes."""
        self._on_every_host(process.send, number)

    def end(self, timeout_s: float) -> list[int]:
        """Kill all reachable processes and wait up to `timeout_s` seconds; the pids of those that remain.

        A host that Ray has lost is out of reach. Its workers notice by themselves that they have been replaced (see
        `cluster.liveness.fence`).
        """
        left = self._on_every_host(process.end, timeout_s)
        return [pid for pids in left for pid in pids or ()]

    def split(self) -> list["Processes"]:
        """Each rank's process."""
        pairs = zip(self._workers, self._by_rank, strict=False)
        return [Processes([worker], [node], nodes=self._nodes) for worker, node in pairs]

    def _on_every_host(self, act: Callable[..., list[int] | None], argument: float) -> list[list[int] | None]:
        # The driver's own host needs no Ray, so its processes are reached even when the raylet hangs or is gone.
        done = [act(found, argument) for node, found in self._on.items() if node in self._own]
        remote = [node for node in self._on if node not in self._own]
        if not remote:
            return done
        alive = {node.node_id for node in self._nodes.alive()}
        tasks = [_task(act, node).remote(self._on[node], argument) for node in remote if node in alive]
        ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=ANSWER_S) if tasks else ([], [])
        for ref in ready:
            with contextlib.suppress(ray.exceptions.RayError):
                done.append(ray.get(ref))
        return done


def _task(act: Callable[..., list[int] | None], node_id: str) -> ray.remote_function.RemoteFunction:
    there = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return ray.remote(act).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
