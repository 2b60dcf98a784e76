"""Collects the facts about all hosts with one Ray actor per host, or about this host without Ray."""

import contextlib
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster import interface
from cluster.config import ClusterConfig
from cluster.doctor import probe
from cluster.doctor.facts import ClusterFacts, NodeFacts, facts_of
from cluster.on_ray.hosts import LOOPBACK, Node, Nodes, connect
from cluster.schedule.slots import Host

GLOO_INTERFACE = "HOROVOD_GLOO_IFACE"
ANSWER_S = 60.0
"""How long a host may take to answer at most; loading TensorFlow comes on top."""
NEIGHBORS = 16
"""To how many other hosts each one connects: to all on small clusters, to the next ones of a ring on large ones."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What to examine.

    folders: shared ones by absolute path, each with the files whose contents must be the same on all hosts. load:
    whether to load Horovod and TensorFlow on every host, which takes seconds.
    """

    config: ClusterConfig
    folders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    load: bool = False

    @property
    def answer_s(self) -> float:
        """How long a host may take to start a process, and again to examine itself."""
        return min(ANSWER_S, self.config.start_timeout_s)


@dataclass(frozen=True)
class _Host:
    name: str
    node_id: str | None
    address: str
    hostname: str
    port: int
    gpus: int
    own: bool
    slots: int | None = None


@contextlib.contextmanager
def joined_cluster(config: ClusterConfig) -> Iterator[str | None]:
    """Join the cluster that `config` names, or the one that runs on this host; disconnect at the end.

    Raises:
        UserError: there is none, it does not answer, or Ray rejects this driver.
    """
    address = connect(replace(config, address=config.address or "auto"))
    try:
        yield address
    finally:
        ray.shutdown()


def cluster_hosts(config: ClusterConfig) -> tuple[list[Host], bool]:
    """The hosts of the cluster with their slots, and whether the slots are GPUs.

    Raises:
        UserError: it cannot be joined; see `joined_cluster`.
    """
    with joined_cluster(config):
        nodes = Nodes(config).alive()
        return [node.host for node in nodes], any(node.gpus for node in nodes)


def examine_here(examination: Examination) -> ClusterFacts:
    """The facts about this host, without Ray."""
    name = socket.gethostname()
    host = _Host(name, None, probe.address_of(name) or LOOPBACK, name, 0, 0, own=True)
    return _examine(examination, [host], joined=False)


def examine_cluster(examination: Examination, *, joined: bool) -> ClusterFacts:
    """The facts about all live hosts of the Ray that this process is connected to."""
    return _examine(examination, _hosts(Nodes(examination.config).alive()), joined=joined)


def _hosts(nodes: Sequence[Node]) -> list[_Host]:
    entries = {entry["NodeID"]: entry for entry in ray.nodes()}
    return [
        _Host(
            node.name,
            node.node_id,
            node.address,
            entries[node.node_id]["NodeManagerHostname"],
            entries[node.node_id]["NodeManagerPort"],
            node.gpus,
            node.own,
            node.slots,
        )
        for node in nodes
    ]


def _examine(examination: Examination, hosts: Sequence[_Host], *, joined: bool) -> ClusterFacts:
    token = secrets.token_hex(8)
    with _exchanges(examination.folders, token) as exchanges:
        request = {
            "interface": examination.config.interface or examination.config.environment.get(GLOO_INTERFACE),
            "token": token,
            "load": examination.load,
            "folders": [
                {"path": path, "exchange": exchanges[path], "contents": list(contents)}
                for path, contents in examination.folders.items()
            ],
        }
        requests = {host.name: request | _request_of(host, hosts) for host in hosts}
        own = next(host for host in hosts if host.own)
        others = [host for host in hosts if not host.own]
        actors = {host.name: _start(host) for host in others}
        greeted = {name: actor.clock.remote() for name, actor in actors.items()}
        first = [_facts(own, probe.Probe().look(requests[own.name]))]
        found, silent = _ask_all(actors, greeted, requests, examination)
        facts = first + [_facts(host, found[host.name]) for host in others if host.name in found]
        facts = [_read_back(node, exchanges, requests[node.host]["host_tag"], token) for node in facts]
    return ClusterFacts(nodes=tuple(facts), silent=silent, joined=joined)


def _request_of(host: _Host, hosts: Sequence[_Host]) -> dict[str, Any]:
    place = hosts.index(host)
    ring = [*hosts[place + 1 :], *hosts[:place]][:NEIGHBORS]
    peers = [[peer.hostname, peer.address, peer.port] for peer in ring if peer.hostname != host.hostname]
    return {"address": host.address, "peers": peers, "host_tag": f"host-{place}"}


def _facts(host: _Host, found: Mapping[str, Any]) -> NodeFacts:
    known = {"host": host.name, "address": host.address, "own": host.own, "ray_gpus": host.gpus, "slots": host.slots}
    clock = {"clock_off_s": found.get("clock_off_s", 0.0), "clock_error_s": found.get("clock_error_s", 0.0)}
    return facts_of(found, **known, **clock)


def _start(host: _Host) -> Any:
    """An actor on `host` that reserves nothing; its modules travel by value, whatever project is installed there."""
    for module in (probe, interface):
        ray.cloudpickle.register_pickle_by_value(module)
    there = NodeAffinitySchedulingStrategy(node_id=host.node_id, soft=False)
    actor = ray.remote(probe.Probe).options(num_cpus=0, scheduling_strategy=there, max_restarts=0)
    return actor.remote()


def _ask_all(
    actors: Mapping[str, Any], greeted: Mapping[str, Any], requests: Mapping[str, Any], examination: Examination
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each host reports, and why others did not answer. Only hosts whose first answer is in time are examined."""
    _, silent = _answers(greeted, examination.answer_s)
    pending = {name: actor.look.remote(requests[name]) for name, actor in actors.items() if name not in silent}
    found, lost = _answers(pending, examination.answer_s + (probe.LOADING_S if examination.load else 0))
    found = {name: look | _clock_of(actors[name]) for name, look in found.items()}
    for actor in actors.values():
        ray.kill(actor, no_restart=True)
    return found, silent | lost


def _answers(pending: Mapping[str, Any], limit_s: float) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers by host, and the reasons of the hosts without one, within `limit_s` seconds in all."""
    until = time.monotonic() + limit_s
    answers: dict[str, Any] = {}
    silent: dict[str, str] = {}
    for name, ref in pending.items():
        try:
            answers[name] = ray.get(ref, timeout=max(0.1, until - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            silent[name] = f"no answer in {limit_s:.0f} s"
        except ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            silent[name] = lines[-1] if lines else type(error).__name__
    return answers, silent


def _clock_of(actor: Any) -> dict[str, float]:
    """How far a host's clock is off, in seconds, to within half of the time that the call took."""
    before = time.time()
    there = ray.get(actor.clock.remote(), timeout=ANSWER_S)
    after = time.time()
    return {"clock_off_s": there - (before + after) / 2, "clock_error_s": (after - before) / 2}


@contextlib.contextmanager
def _exchanges(folders: Mapping[str, Sequence[str]], token: str) -> Iterator[dict[str, str | None]]:
    """For each folder, the name of a subfolder that holds the driver's token; null where it cannot be made.

    At the end it deletes them, and any parent folders that it had to make.
    """
    made: list[Path] = []
    exchanges: dict[str, str | None] = {}
    try:
        for path in folders:
            name = f".doctor-{token}"
            try:
                _make(Path(path) / name, made)
                probe.write_token(Path(path) / name, probe.DRIVER_FILE, token=token, keep=True)
                exchanges[path] = name
            except OSError:
                exchanges[path] = None
        yield exchanges
    finally:
        for folder in reversed(made):
            if folder.name.startswith(".doctor-"):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _make(folder: Path, made: list[Path]) -> None:
    if not folder.parent.exists():
        _make(folder.parent, made)
    folder.mkdir()
    made.append(folder)


def _read_back(node: NodeFacts, exchanges: Mapping[str, str | None], host_tag: str, token: str) -> NodeFacts:
    """The same facts, with `read_back`: whether the driver finds the file that the host wrote."""
    folders = []
    for folder in node.folders:
        exchange, back = exchanges[folder.path], None
        if exchange is not None and folder.written:
            try:
                back = (Path(folder.path) / exchange / host_tag).read_text() == token
            except OSError:
                back = False
        folders.append(replace(folder, read_back=back))
    return replace(node, folders=tuple(folders))
