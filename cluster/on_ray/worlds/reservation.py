"""Reserves the slots of one attempt on Ray: a placement group with one bundle per rank."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cluster.config import ClusterConfig
from cluster.on_ray.hosts import Node, Nodes
from cluster.on_ray.reports import POLL_S, Failed
from cluster.schedule.job import Failure, Worker
from cluster.schedule.slots import Group
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


class Reservation:
    """The slots of `group` for the job `name`, held from `hold` to `release`.

    by_rank: the node of each rank. share: what each rank has of its node.
    """

    def __init__(self, name: str, group: Group, *, nodes: Nodes, config: ClusterConfig, gpu: bool) -> None:
        """Requests nothing from Ray yet. gpu: whether the job uses the GPUs of its slots."""
        self._name, self._group, self._nodes, self._config, self._gpu = name, group, nodes, config, gpu
        self.by_rank: list[Node] = []
        self.share = Share(0.0, 0)
        self.placement_group: Any = None

    def hold(self, look: Callable[[], None]) -> float:
        """Reserve one bundle per rank on the group's hosts; returns the seconds that it took.

        look: called once a second while other programs use the slots; what it raises ends the wait.

        Raises:
            Failed: a host is gone, or the slots were not free within `cluster.busy_timeout_s`.
        """
        begun = time.monotonic()
        notice_at = begun + FIRST_NOTICE_S
        self.find_nodes()
        bundle = {"CPU": self.share.cpus} | ({"GPU": 1} if self.share.gpus else {})
        self.placement_group = ray.util.placement_group(
            [bundle] * len(self.by_rank),
            strategy="PACK",
            bundle_label_selector=[{"ray.io/node-id": node.node_id} for node in self.by_rank],
        )
        while not self.placement_group.wait(POLL_S):
            look()
            self._living()
            now = time.monotonic()
            if now - begun > self._config.busy_timeout_s:
                raise Failed(Failure("start", f"{self._demand()} were not free for {now - begun:.0f} s"))
            if now >= notice_at:
                notice_at = now + NOTICE_EVERY_S
                logger.warning("%s waits for %s: in use by another program", self._name, self._demand())
        return time.monotonic() - begun

    def release(self) -> None:
        """Release the slots; may be called repeatedly."""
        if self.placement_group is not None:
            ray.util.remove_placement_group(self.placement_group)

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
