"""Moves jobs off spot machines that their cloud is about to take back: they save, and continue on other hosts.

One actor on each host asks its machine's metadata server (`cluster.liveness.notice`). It ends with the driver.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.liveness.notice import CLOUD, NoticeReader
from cluster.on_ray.hosts import Nodes

logger = logging.getLogger(__name__)

EVERY_S = 2.0
"""How often each host asks, and how often the driver looks for new hosts."""

Leaving = Mapping[str, str]
"""The hosts with a notice: what it says, by node id."""


class Lookout:
    """Asks on one host until there is a notice."""

    def wait(self, every_s: float) -> str | None:
        """The notice in words; None at once on a machine of no cloud."""
        reader, pause = NoticeReader.of_this_machine(), threading.Event()
        while reader is not None:
            if (found := reader.read()) is not None:
                return found
            pause.wait(every_s)
        return None


class Watcher:
    """Follows all hosts from a thread; once some are leaving, calls `leave` with them every EVERY_S seconds or so."""

    def __init__(self, nodes: Nodes, leave: Callable[[Leaving], None]) -> None:
        self._nodes, self._leave = nodes, leave
        self._lookouts: dict[str, Any] = {}
        self._answers: dict[Any, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self.leaving: dict[str, str] = {}

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for actor in self._lookouts.values():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor, no_restart=True)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            # A Ray that is gone ends the run elsewhere, or is replaced; its references are then unknown.
            with contextlib.suppress(ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError):
                self._look()

    def _look(self) -> None:
        names = {node.node_id: node.name for node in self._nodes.alive()}
        for node_id in names.keys() - self._lookouts.keys():
            self._lookouts[node_id] = actor = _start(node_id)
            self._answers[actor.wait.remote(EVERY_S)] = node_id
        for ref in self._ready():
            node_id = self._answers.pop(ref)
            with contextlib.suppress(ray.exceptions.RayError):  # the host is gone
                if (found := ray.get(ref)) is not None:
                    logger.warning("%s will be gone: %s", names.get(node_id, node_id), found)
                    self.leaving[node_id] = found
        if self.leaving:
            self._leave(self.leaving)

    def _ready(self) -> list[Any]:
        refs = list(self._answers)
        return list(ray.wait(refs, num_returns=len(refs), timeout=0.1)[0]) if refs else []


def _start(node_id: str) -> Any:
    there = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return ray.remote(Lookout).options(num_cpus=0, scheduling_strategy=there, max_restarts=0).remote()


@contextlib.contextmanager
def watched(nodes: Nodes, leave: Callable[[Leaving], None]) -> Iterator[None]:
    """Watch for notices while the block runs, on a cluster of a cloud; see `Watcher`."""
    if not os.environ.get(CLOUD):
        yield
        return
    with Watcher(nodes, leave):
        yield
