"""The cost of a ring all-reduce over the links between the ranks of a group. Arithmetic only."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.schedule.slots import Group


@dataclass(frozen=True, kw_only=True)
class Network:
    """The links between neighboring ranks of a ring, inside a host and between hosts.

    Attributes:
        intra_host, inter_host: Bandwidth in bytes per second and direction; a host has one inter-host link.
        intra_host_latency_s, inter_host_latency_s: Latency of a message in seconds.
        cycle_s: Interval at which Horovod looks for tensors that are ready (HOROVOD_CYCLE_TIME).
        buffer_bytes: Bytes that Horovod fuses into one all-reduce (HOROVOD_FUSION_THRESHOLD).
    """

    intra_host: float
    intra_host_latency_s: float
    inter_host: float
    inter_host_latency_s: float
    cycle_s: float = 0.001
    buffer_bytes: float = 128 * 2**20


GPU_NETWORK = Network(
    intra_host=100e9, intra_host_latency_s=10e-6, inter_host=12.5e9, inter_host_latency_s=30e-6
)  # fmt: skip
"""NVLink inside a host, 100 Gbit/s between hosts, and typical latencies of NCCL's rings on them."""

CORE_NETWORK = Network(
    intra_host=0.8e9, intra_host_latency_s=300e-6, inter_host=1.25e9, inter_host_latency_s=300e-6, cycle_s=0.005
)
"""Gloo between the processes of a host, as measured by `bench/ring.py` on two cores, and over 10 Gbit/s."""


def ring_seconds(size: float, group: Group, *, network: Network, rings_per_link: int = 1) -> float:
    """Seconds of one ring all-reduce of `size` bytes over the ranks of `group`.

    Each of the 2 (n - 1) rounds sends size / n bytes over every link at once, so the slowest link sets the pace
    (Patarasu and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002). `rings_per_link` rings share an inter-host link.
    """
    ranks = len(group.slots)
    if ranks == 1 or size <= 0:
        return 0.0
    bandwidth, latency = network.intra_host, network.intra_host_latency_s
    if len(group.hosts) > 1:
        bandwidth = min(bandwidth, network.inter_host / max(1, rings_per_link))
        latency = max(latency, network.inter_host_latency_s)
    buffers = max(1, -(-int(size) // int(network.buffer_bytes)))
    return 2 * (ranks - 1) * (size / ranks / bandwidth + buffers * latency)


def rings_per_link(group: Group, others: Sequence[Group]) -> int:
    """The number of multi-host groups that use the busiest of the hosts of `group`; at least 1.

    others: groups of the jobs that run at the same time.
    """
    spread = [one for one in (group, *others) if len(one.hosts) > 1]
    return max([1, *(sum(host in one.hosts for one in spread) for host in group.hosts)])


def busy_slots(group: Group, others: Sequence[Group]) -> int:
    """The number of slots that `group` and the `others` use on the busiest of the hosts of `group`."""
    return max(sum(one.hosts.get(host, 0) for one in (group, *others)) for host in group.hosts)
