"""The worker processes of one Horovod world on its slots, for one job or for several, one after the other."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cluster.on_ray.hosts import Node
from cluster.on_ray.worlds.processes import Processes
from cluster.on_ray.worlds.reservation import Reservation, Share
from cluster.schedule.slots import Group

logger = logging.getLogger(__name__)

END_S = 10.0
"""How long killed workers may take to end."""


class Executor(Protocol):
    """The part of Horovod's RayExecutor that a world needs."""

    def start(self) -> None:
        """Start the workers and give each its rank."""
        ...

    def run_remote(self, fn: Callable[..., Any], args: list[Any]) -> list[Any]:
        """Call `fn(*args)` on all workers; references to what they return, by rank."""
        ...

    def kill(self) -> None:
        """Kill the workers and release what they held."""
        ...

    def split(self) -> list["Executor"]:
        """One executor for each rank's worker; this one then has none."""
        ...


class World:
    """The slots of `group` and the workers on them; `hold`, `start`, then `run_remote` any number of times, `kill`."""

    def __init__(self, group: Group, reservation: Reservation) -> None:
        self.group = group
        self.alone = False
        """Whether its only worker has been a rank of a larger world."""
        self.processes: Processes | None = None
        """Set once the workers have reported which processes they are."""
        self._reservation = reservation
        self._executor: Executor | None = None
        self._killing = threading.Lock()

    @property
    def by_rank(self) -> Sequence[Node]:
        """The node of each rank."""
        return self._reservation.by_rank

    @property
    def share(self) -> Share:
        """What each rank has of its node."""
        return self._reservation.share

    def find_nodes(self) -> None:
        """Set `by_rank` and `share` without reserving anything; raises `Failed` where a host is gone."""
        self._reservation.find_nodes()

    def hold(self, look: Callable[[], None]) -> float:
        """Reserve the slots, see `Reservation.hold`."""
        return self._reservation.hold(look)

    def start(self, make: Callable[..., Executor], *, timeout_s: int, look: Callable[[], None]) -> None:
        """Start the workers. look: called once `kill` can end the start; what it raises ends it, too."""
        self._executor = make(self._reservation.bundles, share=self.share, timeout_s=timeout_s)
        look()
        self._executor.start()

    def run_remote(self, fn: Callable[..., Any], args: list[Any]) -> list[Any]:
        """Call `fn(*args)` on all workers; references to what they return, by rank.

        Raises:
            RuntimeError: the world is not started.
        """
        if self._executor is None:
            raise RuntimeError("the world is not started")
        return self._executor.run_remote(fn, args)

    def split(self) -> list["World"]:
        """One world for each slot, with the worker there; this one then has none.

        Raises:
            RuntimeError: the world is not started.
        """
        if self._executor is None or self.processes is None:
            raise RuntimeError("the world is not started")
        with self._killing:
            each = zip(
                self.group.slots, self._reservation.split(), self._executor.split(), self.processes.split(), strict=True
            )
            parts = []
            for slot, reservation, executor, processes in each:
                part = World(Group((slot,)), reservation)
                part.alone, part.processes, part._executor = True, processes, executor
                parts.append(part)
        return parts

    def kill(self) -> None:
        """Kill the workers and release their slots; may be called from any thread, and repeatedly."""
        with self._killing:
            if self._executor is not None:
                self._executor.kill()
            self._reservation.release()

    def end_processes(self) -> list[int]:
        """Kill the processes themselves and wait for their end; the pids of those that remain."""
        return self.processes.end(END_S) if self.processes is not None else []

    def end(self) -> None:
        """Kill the workers, also those that a signal has stopped, for which Ray's own kill waits."""
        self.kill()
        if left := self.end_processes():
            logger.warning("idle workers %s have not ended", left)
