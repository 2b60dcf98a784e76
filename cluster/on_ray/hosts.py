"""Joins a Ray cluster or starts a private one, and lists its hosts."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cluster.config import ClusterConfig
from cluster.on_ray.address import address_to_join, require_ray
from cluster.on_ray.ray_folder import private_ray_folder, provide_token
from cluster.schedule.slots import Host
from data_tools.cores import available_cores
from data_tools.errors import UserError
from data_tools.files import PROJECT_ROOT

logger = logging.getLogger(__name__)

STARTS = 2
"""Attempts at starting a private Ray; one fails where a process of Ray dies during its start."""
LOOPBACK = "127.0.0.1"
TOKEN = "copy the cluster's token to ~/.ray/auth_token here, or set RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token"


@dataclass(frozen=True)
class Node:
    """A live host as Ray reports it; gpus: 0 where jobs train on cores."""

    name: str
    node_id: str
    address: str
    cpus: float
    gpus: int
    own: bool
    """Whether the driver runs on it."""
    slots: int

    @property
    def host(self) -> Host:
        """The host as the planner takes it."""
        return Host(self.name, self.slots)


class Nodes:
    """The live hosts of the connected Ray; each keeps the name under which it was first seen."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._names: dict[str, str] = {}
        self._naming = threading.Lock()

    def alive(self) -> list[Node]:
        """All live hosts, the driver's own first, then by name."""
        entries = [entry for entry in ray.nodes() if entry["Alive"]]
        own = ray.get_runtime_context().get_node_id()
        entries.sort(key=lambda e: (e["NodeID"] != own, e["NodeManagerHostname"], e["NodeID"]))
        # Where requested GPUs have yet to come, the cores of a head node are no slots in the meantime.
        requested = self._config.request_slots is not None
        with_gpus = self._config.gpus != 0 and (requested or any(e["Resources"].get("GPU") for e in entries))
        names = self._named(entries)
        nodes = []
        for entry in entries:
            node_id, resources = entry["NodeID"], entry["Resources"]
            cpus, gpus = float(resources.get("CPU", 0)), int(resources.get("GPU", 0)) if with_gpus else 0
            nodes.append(
                Node(
                    name=names[node_id],
                    node_id=node_id,
                    address=entry["NodeManagerAddress"],
                    cpus=cpus,
                    gpus=gpus,
                    own=node_id == own,
                    slots=slots_of(cpus, gpus, with_gpus=with_gpus, wanted=self._config.slots),
                )
            )
        return nodes

    def _named(self, entries: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Node id -> name: the host name, with a number appended where two live hosts share it."""
        with self._naming:
            live = [entry["NodeID"] for entry in entries]
            used = {self._names[node_id] for node_id in live if node_id in self._names}
            for entry in entries:
                if entry["NodeID"] not in self._names:
                    self._names[entry["NodeID"]] = _unused(entry["NodeManagerHostname"], used)
                    used.add(self._names[entry["NodeID"]])
            return {node_id: self._names[node_id] for node_id in live}


def slots_of(cpus: float, gpus: int, *, with_gpus: bool, wanted: int | None) -> int:
    """Slots of a host; `wanted` null chooses. Ranks can share cores but no GPU, so there `wanted` only lowers them."""
    if with_gpus:
        return min(gpus, wanted) if wanted is not None else gpus
    if cpus <= 0:
        return 0
    return wanted or max(1, int(cpus))


def connect(config: ClusterConfig) -> str | None:
    """Join the cluster that `config` names or that runs on this host, or start a private Ray.

    Returns the address of the joined cluster, or null.

    Raises:
        UserError: the address does not answer, or Ray rejects this driver.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address_to_join(config.address)
    if address is None:
        _start_own(config)
    else:
        _join(address)
    redirect_notices_to_log()
    return address


def redirect_notices_to_log() -> None:
    """Send the notices that Ray prints in a driver (of raylets, of the autoscaler) to this module's log.

    Replaces Ray's private printing function for the whole process; see docs/cluster.md.
    """

    def log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        for line in data["lines"]:
            logger.info("%s: %s", data["pid"], line)

    # Ray has no setting for them; `log_to_driver` concerns the output of workers.
    ray._private.worker.print_to_stdstream = log


def _join(address: str) -> None:
    require_ray(address, named_by="cluster.address")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        # Ray's own line about tokens is 600 characters long, and about a wrong token it only says that it failed.
        if "token" in reason or "Failed to connect" in reason:
            reason = f"{reason.partition('. ')[0].rstrip('.')}, most likely because of the token; {TOKEN}"
        raise UserError(f"cluster.address: {address}: Ray rejects this driver: {reason}") from None


def _start_own(config: ClusterConfig) -> None:
    """Start a Ray for this process alone; Ray turns token authentication on by itself."""
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    folder = private_ray_folder()
    provide_token()
    for start in range(1, STARTS + 1):
        try:
            _init_own(config, folder)
        except Exception as error:
            # Ray reports a process that died during the start as a plain Exception; any other class is a bug.
            if type(error) is not Exception and not isinstance(error, (ConnectionError, ray.exceptions.RayError)):
                raise
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            if start == STARTS:
                raise UserError(
                    f"Ray could not be started on this host, tried {STARTS} times: {reason.rstrip('.')}; its logs are "
                    f"in {folder}/session_latest, then run the same command again"
                ) from None
            logger.warning("Ray could not be started (%s); retrying", reason)
        else:
            return


def _init_own(config: ClusterConfig, folder: str) -> None:
    with _project_on_python_path():
        ray.init(
            address="local",
            # Ray counts the cores of the host; a container, a job of Slurm or `taskset` may have fewer.
            num_cpus=available_cores(),
            num_gpus=config.gpus,
            include_dashboard=config.dashboard,
            dashboard_host=LOOPBACK,
            object_store_memory=config.object_store_mib * 2**20,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
            # By default the raylet accepts the driver only when a worker for each core has started, a second later; a
            # raylet that dies in that second ends the driver's process inside Ray, where nothing can catch it.
            _system_config={"prestart_worker_first_driver": False},
        )


@contextlib.contextmanager
def _project_on_python_path() -> Iterator[None]:
    """Put the project on PYTHONPATH while Ray starts: its workers inherit that environment."""
    before = os.environ.get("PYTHONPATH")
    root = str(PROJECT_ROOT)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _unused(name: str, used: set[str]) -> str:
    """`name`, or `name-2` and so on where another host has that name."""
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
