"""Reserves the slots of one attempt on Ray: a placement group with one bundle per rank.

Worlds that were one share its placement group. Ray can only remove all of it, so that happens with the last of them; a
slot that is free until then is reserved again by its bundle.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cluster.config import ClusterConfig
from cluster.on_ray.hosts import Node, Nodes
from cluster.on_ray.reports import POLL_S, Failed
from cluster.schedule.job import Failure, Worker
from cluster.schedule.slots import Group, Slot
from data_tools.protocol import threads_per_worker

logger = logging.getLogger(__name__)

LEAST_CPUS = 0.001
FIRST_NOTICE_S = 5.0
"""How long to wait for busy slots before the log says so; then again every NOTICE_EVERY_S seconds."""
NOTICE_EVERY_S = 30.0


@dataclass(frozen=True)
class Share:
    """What one rank gets of its host.

    cpus: cores reserved on Ray, a fraction where slots share a core. gpus: GPUs reserved, 0 or 1. threads: how many
    threads the rank may use, which no reservation limits.
    """

    cpus: float
    gpus: int
    threads: int = 1


Place = tuple[str, Slot, Share]
"""A slot on a node (its id), and what a rank there has of the node."""


@dataclass(frozen=True)
class Bundle:
    """One bundle of a placement group."""

    placement_group: Any
    index: int


class Bundles:
    """The bundles that one driver holds, by place; a placement group is removed once none of its bundles is used."""

    def __init__(self, remove: Callable[[Any], None] = ray.util.remove_placement_group) -> None:
        self._remove = remove
        self._held: dict[Place, Bundle] = {}
        self._used: set[Place] = set()
        self._lock = threading.Lock()

    def add(self, places: Sequence[Place], placement_group: Any) -> None:
        """Hold a new placement group, whose bundles are those of `places`; all of them are used."""
        with self._lock:
            self._held |= {place: Bundle(placement_group, index) for index, place in enumerate(places)}
            self._used |= set(places)

    def take(self, places: Sequence[Place]) -> dict[Place, Bundle]:
        """The bundles that are held for these places and not used; from now on they are."""
        with self._lock:
            found = {place: self._held[place] for place in places if place in self._held and place not in self._used}
            self._used |= set(found)
        return found

    def release(self, places: Iterable[Place]) -> None:
        """The bundles of these places are not used any more."""
        with self._lock:
            self._used -= set(places)
            groups = {id(held.placement_group): held.placement_group for held in self._held.values()}
            for place in self._used:
                groups.pop(id(self._held[place].placement_group), None)
            self._held = {place: held for place, held in self._held.items() if id(held.placement_group) not in groups}
        for group in groups.values():
            self._remove(group)


class Reservation:
    """The slots of `group` for the job `name`, held from `hold` to `release`.

    by_rank: the node of each rank. share: what each rank has of its node. bundles: what is reserved for each rank.
    """

    def __init__(
        self, name: str, group: Group, *, nodes: Nodes, config: ClusterConfig, gpu: bool, bundles: Bundles
    ) -> None:
        """Requests nothing from Ray yet. gpu: whether the job uses the GPUs of its slots. bundles: the driver's."""
        self._name, self._group, self._nodes, self._config, self._gpu = name, group, nodes, config, gpu
        self._of_driver = bundles
        self.by_rank: list[Node] = []
        self.share = Share(0.0, 0)
        self.bundles: list[Bundle] = []
        self._held: dict[Place, Bundle] = {}
        self._requested: Any = None

    def hold(self, look: Callable[[], None]) -> float:
        """Reserve one bundle per rank on the group's hosts; returns the seconds that it took.

        look: called once a second while other programs use the slots; what it raises ends the wait.

        Raises:
            Failed: a host is gone, or the slots were not free within `cluster.busy_timeout_s`.
        """
        begun = time.monotonic()
        notice_at = begun + FIRST_NOTICE_S
        self.find_nodes()
        places = [(node.node_id, slot, self.share) for node, slot in zip(self.by_rank, self._group.slots, strict=True)]
        self._take(places)
        while missing := [place for place in places if place not in self._held]:
            requested = self._request(missing)
            while not (granted := requested.wait(POLL_S)) and not self._take(missing):
                look()
                self._living()
                now = time.monotonic()
                if now - begun > self._config.busy_timeout_s:
                    raise Failed(Failure("start", f"{self._demand()} were not free for {now - begun:.0f} s"))
                if now >= notice_at:
                    notice_at = now + NOTICE_EVERY_S
                    logger.warning("%s waits for %s: in use by another program", self._name, self._demand())
            if granted:
                self._hold(missing, requested)
            else:
                self._withdraw()
        self.bundles = [self._held[place] for place in places]
        return time.monotonic() - begun

    def _take(self, places: Sequence[Place]) -> bool:
        """Take what the driver holds for these places and nothing uses; whether there was any."""
        found = self._of_driver.take(places)
        self._held |= found
        return bool(found)

    def _request(self, places: Sequence[Place]) -> Any:
        bundle = {"CPU": self.share.cpus} | ({"GPU": 1} if self.share.gpus else {})
        self._requested = ray.util.placement_group(
            [bundle] * len(places),
            strategy="PACK",
            bundle_label_selector=[{"ray.io/node-id": node_id} for node_id, *_ in places],
        )
        return self._requested

    def _hold(self, places: Sequence[Place], requested: Any) -> None:
        self._requested = None
        self._of_driver.add(places, requested)
        self._held |= {place: Bundle(requested, index) for index, place in enumerate(places)}

    def _withdraw(self) -> None:
        requested, self._requested = self._requested, None
        if requested is not None:
            ray.util.remove_placement_group(requested)

    def release(self) -> None:
        """Release the slots; may be called repeatedly."""
        self._withdraw()
        held, self._held = self._held, {}
        self._of_driver.release(held)

    def split(self) -> list["Reservation"]:
        """One reservation for each rank; this one then holds nothing."""
        parts = []
        held, self._held = self._held, {}
        for slot, node, bundle in zip(self._group.slots, self.by_rank, self.bundles, strict=True):
            part = Reservation(
                self._name,
                Group((slot,)),
                nodes=self._nodes,
                config=self._config,
                gpu=self._gpu,
                bundles=self._of_driver,
            )
            part.by_rank, part.share, part.bundles = [node], self.share, [bundle]
            part._held = {place: one for place, one in held.items() if one == bundle}
            parts.append(part)
        return parts

    def find_nodes(self) -> None:
        """Set `by_rank` and `share`; reserves nothing.

        Raises:
            Failed: a host is gone.
        """
        self.by_rank = self._living()
        self.share = share_of(self.by_rank, gpu=self._gpu)

    def _living(self) -> list[Node]:
        """The nodes of the group by rank; raises `Failed` where one is gone."""
        alive = {node.name: node for node in self._nodes.alive()}
        if gone := [name for name in self._group.hosts if name not in alive]:
            raise Failed(Failure("start", f"host {', '.join(gone)} is gone"))
        return [alive[slot.host] for slot in self._group.slots]

    def _demand(self) -> str:
        unit = "GPU" if self.share.gpus else f"x {self.share.cpus:g} core"
        return ", ".join(f"{count} {unit} on {host}" for host, count in self._group.hosts.items())


def share_of(nodes: Sequence[Node], *, gpu: bool = True) -> Share:
    """The share of each rank of a group on `nodes`: the smallest that one of these hosts offers.

    gpu: whether the job uses GPUs where the nodes have some.
    """
    cores = min(node.cpus / node.slots for node in nodes)
    with_gpus = any(node.gpus for node in nodes)
    # On a GPU host a rank reserves one core at most: a larger reservation would only block other programs there.
    cpus = min(cores, 1.0) if with_gpus else cores
    return Share(
        # Ray counts in ten-thousandths; rounding up would leave the last slot without its share.
        cpus=max(LEAST_CPUS, math.floor(cpus * 10_000) / 10_000),
        gpus=int(with_gpus and gpu),
        threads=min(threads_per_worker(node.cpus, node.slots) for node in nodes),
    )


def check_devices(workers: Sequence[Worker]) -> None:
    """Check that the ranks on each host see the same list of GPUs, one for each of them.

    Local rank r uses the r-th GPU of the list, so ranks that see only their own would share or miss one.

    Raises:
        Failed: the ranks of a host see other GPUs.
    """
    by_host: dict[str, list[str]] = {}
    for worker in workers:
        by_host.setdefault(worker.host, []).append(worker.devices)
    for host, devices in by_host.items():
        seen = set(devices)
        if len(seen) != 1 or len(set(devices[0].split(","))) != len(devices):
            raise Failed(Failure("start", f"{len(devices)} ranks on {host} were given the GPUs {sorted(seen)}"))
