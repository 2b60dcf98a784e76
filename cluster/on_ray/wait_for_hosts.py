"""Before jobs are placed: requests all slots from an autoscaling cluster at once, and waits for its hosts."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.config import ClusterConfig
from cluster.on_ray.machines.capacity import held
from cluster.schedule.slots import Host, describe
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` puts the resolved cluster configuration on the head node (commands.py of Ray 2.60's launcher)."""
HOSTS = "REGIONSTACK_HOSTS"
"""Environment variable: number of hosts of a job, from a batch system (cluster/setup/ray_node.sh)."""
POLL_S = 1.0
FIRST_NOTICE_S = 5.0
NOTICE_EVERY_S = 30.0


def expected_hosts(bootstrap: Path) -> int:
    """The minimum number of hosts: of a batch system's job, or from the file that `ray up` puts on the head, or 1."""
    if named := os.environ.get(HOSTS):
        return int(named)
    try:
        config: Any = yaml.safe_load(bootstrap.expanduser().read_text())
    except (OSError, RuntimeError, yaml.YAMLError):  # RuntimeError: a user without a home
        return 1
    types = config.get("available_node_types") if isinstance(config, dict) else None
    return 1 + sum(int(kind.get("min_workers") or 0) for kind in (types or {}).values())


def bundles(slots: int, *, gpus: bool) -> list[dict[str, float]]:
    """The request to the autoscaler: one GPU, or one core, for each slot."""
    return [{"GPU": 1} if gpus else {"CPU": 1}] * slots


@contextlib.contextmanager
def requested(config: ClusterConfig) -> Iterator[None]:
    """Keep `cluster.request_slots` requested while this driver lives; the autoscaler then also replaces lost hosts."""
    if config.request_slots is None:
        yield
        return
    with held(bundles(config.request_slots, gpus=config.gpus != 0)):
        yield


def gather(
    hosts: Callable[[], Sequence[Host]],
    config: ClusterConfig,
    *,
    expected: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the cluster has `expected` hosts and `cluster.request_slots` slots; logs what is missing.

    Continues with the hosts that came after `cluster.gather_timeout_s`.

    Raises:
        UserError: the requested slots did not come.
    """
    begun = clock()
    notice_at = begun + FIRST_NOTICE_S
    while missing := _missing(hosts(), config, expected):
        now = clock()
        if now - begun > config.gather_limit_s:
            if _slots(hosts()) < (config.request_slots or 0):
                raise UserError(f"after {config.gather_limit_s} s (cluster.gather_timeout_s) still {missing}")
            logger.warning("continuing with the hosts that came: %s", missing)
            return
        if now >= notice_at:
            notice_at = now + NOTICE_EVERY_S
            logger.warning("waiting for the cluster: %s", missing)
        sleep(POLL_S)


def _missing(hosts: Sequence[Host], config: ClusterConfig, expected: int) -> str | None:
    """What was requested and what was found, in words; None where nothing is missing."""
    if len(hosts) < expected:
        return f"{expected} hosts are expected, found {describe(hosts)}"
    if _slots(hosts) < (config.request_slots or 0):
        return f"{config.request_slots} slots are requested (cluster.request_slots), found {describe(hosts)}"
    return None


def _slots(hosts: Sequence[Host]) -> int:
    return sum(host.slots for host in hosts)
