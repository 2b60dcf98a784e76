"""Worlds whose job is done, kept for the next job on the same slots: it pays no imports and starts no actors."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence

from cluster.on_ray.hosts import Node
from cluster.on_ray.worlds.reservation import Share
from cluster.on_ray.worlds.world import World
from cluster.schedule.slots import Group

logger = logging.getLogger(__name__)


class WarmWorlds:
    """Idle worlds. Each is killed after `idle_s` seconds, or as soon as a job starts on one of its slots without it."""

    def __init__(self, idle_s: float = 0.0) -> None:
        self._idle_s = idle_s
        self._idle: list[tuple[World, threading.Timer]] = []
        self._closed = False
        self._lock = threading.RLock()

    @property
    def groups(self) -> list[Group]:
        """The groups of the idle worlds."""
        with self._lock:
            return [world.group for world, _ in self._idle]

    def give(self, world: World) -> None:
        """Keep the world of a job that succeeded."""
        timer = threading.Timer(self._idle_s, self._expire, [world])
        timer.daemon = True
        with self._lock:
            if not self._closed:
                self._idle.append((world, timer))
                timer.start()
                return
        world.kill()

    def take(self, group: Group, by_rank: Sequence[Node], share: Share) -> World | None:
        """The idle world on exactly these slots, nodes and shares, if there is one.

        For a job of one worker that trains on cores, an idle world of several is split into worlds of one; the others
        stay idle. Every other idle world that holds one of the slots is killed: a job needs them.
        """
        slots = set(group.slots)
        nodes = [node.node_id for node in by_rank]
        with self._lock:  # Another job may take another part of the same world at this moment.
            touching = self._remove(lambda world: not slots.isdisjoint(world.group.slots))
            if len(nodes) == 1 and not share.gpus:
                touching = [part for world in touching for part in self._split(world, group, nodes[0], share)]
        found = None
        for world in touching:
            same = (world.group, [node.node_id for node in world.by_rank], world.share) == (group, nodes, share)
            if same and found is None:
                found = world
            else:
                world.end()
        return found

    def _split(self, world: World, group: Group, node_id: str, share: Share) -> list[World]:
        """The part of `world` on the one slot of `group`; its other parts stay idle.

        A world whose part would not fit stays as it is.
        """
        node = next(node for slot, node in zip(world.group.slots, world.by_rank, strict=True) if slot in group.slots)
        if len(world.group.slots) == 1 or (node.node_id, world.share) != (node_id, share):
            return [world]
        parts = world.split()
        for part in parts:
            if part.group != group:
                self.give(part)
        return [part for part in parts if part.group == group]

    def leave(self, node_ids: Collection[str]) -> None:
        """Kill the idle worlds that have a rank on one of these nodes."""
        for world in self._remove(lambda world: any(node.node_id in node_ids for node in world.by_rank)):
            world.kill()

    def close(self) -> None:
        """Kill all idle worlds, and keep none from now on."""
        for world in self.remove_all():
            world.end()

    def remove_all(self) -> list[World]:
        """Keep none from now on, and return the idle worlds without killing them."""
        with self._lock:
            self._closed = True
        return self._remove(lambda _: True)

    def _expire(self, world: World) -> None:
        for one in self._remove(lambda other: other is world):
            logger.debug("an idle world on %s is given up", one.group.hosts)
            one.end()

    def _remove(self, chosen: Callable[[World], bool]) -> list[World]:
        with self._lock:
            removed = [(world, timer) for world, timer in self._idle if chosen(world)]
            self._idle = [entry for entry in self._idle if entry not in removed]
        for _, timer in removed:
            timer.cancel()
        return [world for world, _ in removed]
