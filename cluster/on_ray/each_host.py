"""Calls a function on all hosts of a joined Ray cluster at once, for work that needs cores but no Horovod world."""

import contextlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import ClusterConfig
from cluster.on_ray.hosts import Node, Nodes, connect

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HostResult:
    """The result of one call, or the error that prevented it."""

    host: str
    result: Any = None
    error: str | None = None


class HostPool:
    """Hosts that are ready for calls; see `host_pool`."""

    def __init__(self, address: str, ready: Sequence[tuple[Node, Any]]) -> None:
        self.address = address
        """Ray's address."""
        self._ready = ready

    @property
    def hosts(self) -> list[str]:
        """Their names, the driver's own host first."""
        return [node.name for node, _ in self._ready]

    def call(self, target: str, payloads: Sequence[Any]) -> list[HostResult]:
        """Call `target` ("module:function") on each host with the payload of the same index; waits for all of them.

        A lost host, or a call that raises, is a `HostResult` with an error and does not affect the others.
        """
        pairs = zip(self._ready, payloads, strict=True)
        calls = [(node.name, actor.call.remote(target, payload)) for (node, actor), payload in pairs]
        return [_outcome(host, call) for host, call in calls]


@contextlib.contextmanager
def host_pool(config: ClusterConfig) -> Iterator[HostPool | None]:
    """The hosts of the cluster that `config` names or that runs here; None where it has only one host.

    Leaves out a host that has no free CPU within `start_timeout_s`.

    Raises:
        UserError: the address does not answer, or Ray rejects this driver.
    """
    address = connect(config)
    try:
        nodes = [node for node in Nodes(config).alive() if node.cpus >= 1]
        # A single host brings no gain, and may be busy for a long time.
        ready = _ready(nodes, config) if len(nodes) > 1 else []
        yield HostPool(str(address), ready) if len(ready) > 1 else None
    finally:
        ray.shutdown()  # Ends the actors and all processes that they have started.


def _ready(nodes: Sequence[Node], config: ClusterConfig) -> list[tuple[Node, Any]]:
    actors = [_on(node, config) for node in nodes]
    answers = [actor.ready.remote() for actor in actors]
    _, late = ray.wait(answers, num_returns=len(answers), timeout=config.start_timeout_s)
    found = []
    for node, actor, answer in zip(nodes, actors, answers, strict=True):
        if answer in late or _outcome(node.name, answer).error:
            logger.warning("%s: no free CPU, or gone; continuing without it", node.name)
            ray.kill(actor)
        else:
            found.append((node, actor))
    return found


def _on(node: Node, config: ClusterConfig) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    environment = {"env_vars": dict(config.environment)} if config.environment else {}
    return (
        ray.remote(_Host)
        .options(num_cpus=1, scheduling_strategy=strategy, runtime_env=environment, max_restarts=0, max_task_retries=0)
        .remote()
    )


def _outcome(host: str, call: Any) -> HostResult:
    try:
        return HostResult(host, ray.get(call))
    except ray.exceptions.RayTaskError as error:
        return HostResult(host, error=str(error.cause))
    except ray.exceptions.RayError as error:
        return HostResult(host, error=str(error).strip().splitlines()[0])


class _Host:
    def ready(self) -> bool:
        return True

    def call(self, target: str, payload: Any) -> Any:
        module, _, function = target.partition(":")
        return getattr(importlib.import_module(module), function)(payload)
