"""Before jobs are placed: ask a cluster that grows for all slots at once, and wait for the hosts that are to come."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler.sdk import request_resources

from cluster.config import ClusterConfig
from cluster.schedule.slots import Host, describe
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` leaves the cluster's configuration on the head, resolved (commands.py of Ray 2.60's launcher)."""
LOOK_S = 1.0
TELL_FIRST_S = 5.0
TELL_EVERY_S = 30.0


def expected_hosts(bootstrap: Path) -> int:
    """Hosts that a cluster is to have at least, by the file that `ray up` left on its head; 1 where there is none."""
    try:
        config: Any = yaml.safe_load(bootstrap.expanduser().read_text())
    except (OSError, yaml.YAMLError):
        return 1
    types = config.get("available_node_types") if isinstance(config, dict) else None
    return 1 + sum(int(kind.get("min_workers") or 0) for kind in (types or {}).values())


def bundles(slots: int, *, gpus: bool) -> list[dict[str, float]]:
    """What the scaler is asked for: one GPU, or one core, for each slot."""
    return [{"GPU": 1} if gpus else {"CPU": 1}] * slots


@contextlib.contextmanager
def requested(config: ClusterConfig) -> Iterator[None]:
    """Keep `cluster.request_slots` asked for from the cluster's scaler, so that lost hosts are replaced as well."""
    if config.request_slots is None:
        yield
        return
    request_resources(bundles=bundles(config.request_slots, gpus=config.gpus != 0))
    try:
        yield
    finally:
        request_resources(bundles=[])


def gather(
    hosts: Callable[[], Sequence[Host]],
    config: ClusterConfig,
    *,
    expected: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until `expected` hosts and `cluster.request_slots` slots are there; tells what it waits for.

    After `cluster.gather_timeout_s` it goes on with the hosts that came.

    Raises:
        UserError: the slots that were asked for did not come.
    """
    begun = clock()
    tell_at = begun + TELL_FIRST_S
    while missing := _missing(hosts(), config, expected):
        now = clock()
        if now - begun > config.gather_timeout_s:
            if _slots(hosts()) < (config.request_slots or 0):
                raise UserError(f"after {config.gather_timeout_s} s (cluster.gather_timeout_s) still {missing}")
            logger.warning("going on with what is there: %s", missing)
            return
        if now >= tell_at:
            tell_at = now + TELL_EVERY_S
            logger.warning("waiting for the cluster: %s", missing)
        sleep(LOOK_S)


def _missing(hosts: Sequence[Host], config: ClusterConfig, expected: int) -> str | None:
    """What was asked for and what there is, in words; None where all is there."""
    if len(hosts) < expected:
        return f"{expected} hosts are to come, found {describe(hosts)}"
    if _slots(hosts) < (config.request_slots or 0):
        return f"{config.request_slots} slots are asked for (cluster.request_slots), found {describe(hosts)}"
    return None


def _slots(hosts: Sequence[Host]) -> int:
    return sum(host.slots for host in hosts)
