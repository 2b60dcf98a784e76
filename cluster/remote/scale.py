"""The full size of a cluster whose node types scale: what a run requests that names no number of slots."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.config import ClusterConfig
from cluster.on_ray.address import address_to_join
from cluster.on_ray.hosts import slots_of
from cluster.on_ray.wait_for_hosts import BOOTSTRAP


@dataclass(frozen=True)
class Scale:
    """slots: of all hosts that a cluster can have. text: the same for people, as in `16 GPUs (4 x gpu)`."""

    slots: int
    text: str


def default_request(config: ClusterConfig, bootstrap: Path = BOOTSTRAP) -> Scale | None:
    """What to request where `cluster.request_slots` is null: everything that the joined cluster can start.

    bootstrap: the file that `ray up` puts on the head node. None: a number is configured, the run has a Ray of its own,
    or no node type scales.

    Raises:
        UserError: `cluster.address` is `auto`, and no cluster runs here.
    """
    if config.request_slots is not None or address_to_join(config.address) is None:
        return None
    try:
        cluster: Any = yaml.safe_load(bootstrap.expanduser().read_text())
    except (OSError, RuntimeError, yaml.YAMLError):  # RuntimeError: a user without a home
        return None
    return full_scale(cluster, config) if isinstance(cluster, dict) else None


def full_scale(cluster: Mapping[str, Any], config: ClusterConfig) -> Scale | None:
    """The full size of the cluster that a launcher's file describes; None if none of its node types scales."""
    types: Mapping[str, Any] = cluster.get("available_node_types") or {}
    head, room = cluster.get("head_node_type"), cluster.get("max_workers")
    workers = {name: _count(kind, "max_workers", room) for name, kind in types.items() if name != head}
    if not any(count > _count(types[name], "min_workers", 0) for name, count in workers.items()):
        return None
    with_gpus = config.gpus != 0 and any(_resource(kind, "GPU") for kind in types.values())
    slots = {name: _slots(kind, with_gpus=with_gpus, wanted=config.slots) for name, kind in types.items()}
    left = sum(workers.values()) if room is None else int(room)
    total, parts = slots.get(str(head), 0), []
    for name in sorted(workers, key=lambda name: -slots[name]):
        count = min(workers[name], left)
        left -= count
        if count and slots[name]:
            total += count * slots[name]
            parts.append(f"{count} x {name}")
    unit = "GPUs" if with_gpus else "slots"
    return Scale(total, f"{total} {unit} ({', '.join(parts)})") if parts else None


def _count(kind: Mapping[str, Any], key: str, otherwise: object) -> int:
    value = kind.get(key)
    return int(str(otherwise or 0)) if value is None else int(value)


def _resource(kind: Mapping[str, Any], name: str) -> float:
    return float((kind.get("resources") or {}).get(name) or 0)


def _slots(kind: Mapping[str, Any], *, with_gpus: bool, wanted: int | None) -> int:
    return slots_of(_resource(kind, "CPU"), int(_resource(kind, "GPU")), with_gpus=with_gpus, wanted=wanted)
