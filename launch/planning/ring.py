"""What an all-reduce costs: a ring over the links between the ranks of a group. Arithmetic only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.schedule.slots import Group, Placement


@dataclass(frozen=True, kw_only=True)
class Network:
    """Links between two neighbours of a ring, inside a host and between hosts.

    Bandwidths are bytes a second in one direction, per host for the link between hosts; latencies are seconds a
    message. cycle_s: how often Horovod looks for tensors that are ready (HOROVOD_CYCLE_TIME). buffer_bytes: what
    it joins into one all-reduce (HOROVOD_FUSION_THRESHOLD).
    """

    inside: float
    inside_latency_s: float
    between: float
    between_latency_s: float
    cycle_s: float = 0.001
    buffer_bytes: float = 128 * 2**20


GPU_NETWORK = Network(inside=100e9, inside_latency_s=10e-6, between=12.5e9, between_latency_s=30e-6)
"""NVLink inside a host, 100 Gbit/s between hosts, and latencies a message such as NCCL's rings show on them."""

CORE_NETWORK = Network(inside=0.8e9, inside_latency_s=300e-6, between=1.25e9, between_latency_s=300e-6, cycle_s=0.005)
"""Gloo between processes of one host, as `bench/ring.py` finds it on two cores, and over 10 Gbit/s."""


def ring_seconds(size: float, group: Group, network: Network, *, sharing: int = 1) -> float:
    """Seconds of one ring all-reduce of `size` bytes over the ranks of `group`.

    Each of the 2 (n - 1) rounds sends size / n bytes over every link at once, so that the slowest link sets the
    pace (Patarasu and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002). `sharing`: how many rings go through the same
    link between hosts at the same time.
    """
    ranks = len(group.slots)
    if ranks == 1 or size <= 0:
        return 0.0
    bandwidth, latency = network.inside, network.inside_latency_s
    if len(group.hosts) > 1:
        bandwidth = min(bandwidth, network.between / max(1, sharing))
        latency = max(latency, network.between_latency_s)
    buffers = max(1, -(-int(size) // int(network.buffer_bytes)))
    return 2 * (ranks - 1) * (size / ranks / bandwidth + buffers * latency)


def sharing(name: str, placements: Mapping[str, Placement]) -> int:
    """How many groups of the job's wave, itself among them, leave the busiest of its hosts; 1 for a lone one."""
    mine = placements[name]
    beside = [other.group for other in placements.values() if other.wave == mine.wave and len(other.group.hosts) > 1]
    return max([1, *(sum(host in group.hosts for group in beside) for host in mine.group.hosts)])


def busy_slots(name: str, placements: Mapping[str, Placement]) -> int:
    """Most slots of one of the job's hosts that are in use in its wave."""
    mine = placements[name]
    beside: Sequence[Group] = [other.group for other in placements.values() if other.wave == mine.wave]
    return max(sum(group.hosts.get(host, 0) for group in beside) for host in mine.group.hosts)
