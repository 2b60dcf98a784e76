"""Checks the hosts that jobs are about to run on: facts in, findings out; pure functions."""

from collections import Counter
from collections.abc import Callable, Iterator

from cluster.doctor.facts import LEVELS, ClusterFacts, Finding, FolderFacts, NodeFacts, Requirements
from cluster.doctor.versions import check_capabilities, check_horovod, check_versions

GIB = 2**30

SAME_CLOCK_S = 1.0
LEAST_OPEN_FILES = 4096
"""Ray's daemons alone hold about a thousand; each shard, log and connection of a worker is one more."""
LEAST_RUN_BYTES = 5 * GIB
"""Two checkpoints and the best one of five InceptionResNetV2 with Adam take 10 GB; half of that is too little."""
LEAST_TEMPORARY_BYTES = 2 * GIB
FULL = 0.95
"""Ray starts no worker where the file system of its session is fuller than this share."""


def judge(facts: ClusterFacts, required: Requirements) -> list[Finding]:
    """All findings, errors first, otherwise in the order of the checks and hosts."""
    found = [finding for check in CHECKS.values() for finding in check(facts, required)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def check_answers(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Every host that Ray or the cluster file lists is up and answers."""
    for host, reason in facts.silent.items():
        advice = (
            "see ray status and the raylet's log there; kill the raylet and start it again with ray up or ray start"
        )
        yield Finding(
            "error", "hosts", host, f"Ray lists this host as alive, and it does not answer ({reason})", advice
        )
    for host, reason in facts.absent.items():
        what = f"listed in the cluster file, but not in the cluster ({reason})"
        yield Finding("error", "hosts", host, what, "add it with ray up")


def check_gpus(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Ray offers the GPUs that exist, each on one host only; TensorFlow sees them, and what is built serves them."""
    if not required.gpus:
        return
    yield from check_capabilities(facts, required)
    for node in facts.nodes:
        if node.ray_gpus > len(node.gpus):
            what = f"Ray offers {_count(node.ray_gpus, 'GPU')} but NVIDIA's driver lists {len(node.gpus)}"
            yield Finding("error", "gpus", node.host, what, "start Ray there without --num-gpus, or repair the driver")
        elif node.gpus and not node.ray_gpus:
            what = f"{_count(len(node.gpus), 'GPU')} that Ray does not offer"
            yield Finding("warning", "gpus", node.host, what, "start Ray there with --num-gpus")
        if node.tensorflow_gpus is not None and node.tensorflow_gpus < min(node.ray_gpus, len(node.gpus)):
            what = f"TensorFlow sees {node.tensorflow_gpus} of {_count(len(node.gpus), 'GPU')}"
            yield Finding(
                "error", "gpus", node.host, what, "run GPU=1 make env there, which installs the CUDA libraries"
            )
    owners = Counter(gpu for node in facts.nodes if node.ray_gpus for gpu in node.gpus)
    for gpu, count in owners.items():
        if count > 1:
            hosts = ", ".join(node.host for node in facts.nodes if gpu in node.gpus)
            yield Finding("error", "gpus", hosts, f"these hosts offer the same {gpu}", "run one Ray node per machine")


def check_names(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Every host's name resolves, there and on the other hosts, to an address that the others reach."""
    addresses = {node.hostname: node.address for node in facts.nodes}
    for node in facts.nodes:
        entry = f"add it to /etc/hosts there ({node.address} {node.hostname})"
        if node.name_address is None:
            what = f"its own name, {node.hostname}, does not resolve, and Horovod needs that"
            yield Finding("error", "names", node.host, what, entry)
        elif facts.several_hosts and node.name_address.startswith("127."):
            what = f"its own name, {node.hostname}, resolves to {node.name_address}, which no other host reaches"
            yield Finding("error", "names", node.host, what, entry)
        elif facts.several_hosts and node.reverse is None:
            yield Finding("note", "names", node.host, f"{node.address} has no reverse DNS name", "")
        for peer, found in node.peers.items():
            if found is None or found != addresses.get(peer, found):
                resolves = "does not resolve" if found is None else f"resolves to {found}"
                advice = f"add {addresses.get(peer)} {peer} to /etc/hosts there, or set up a name server"
                yield Finding("warning", "names", node.host, f"the name {peer} {resolves} there", advice)


def check_network(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Every host has an interface for Gloo and NCCL, and hosts reach each other."""
    chosen: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.interface is None and (facts.several_hosts or required.interface):
            what, advice = node.interface_error or "no interface", "set cluster.interface"
            yield Finding("error", "network", node.host, what, advice)
        elif facts.several_hosts and node.address.startswith("127."):
            advice = "start Ray there with --node-ip-address"
            yield Finding(
                "error", "network", node.host, f"Ray lists it under {node.address}, which only it reaches", advice
            )
        elif facts.several_hosts or required.interface:
            chosen.setdefault(node.interface or "", []).append(f"{node.host} ({node.address})")
        for peer in node.unreached:
            advice = "open the ports between the hosts (firewall, security group)"
            yield Finding("error", "network", node.host, f"no connection to {peer}", advice)
    for interface, hosts in chosen.items():
        advice = "set cluster.interface to change that"
        yield Finding("note", "network", ", ".join(hosts), f"Gloo and NCCL use {interface}", advice)


def check_storage(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """All hosts see the same run folder and shards, and can write the run folder."""
    own = {folder.path: folder for folder in facts.nodes[0].folders}
    for node in facts.nodes:
        for folder in node.folders:
            role = "run.folder" if folder.path == required.run_folder else "shards.folder"
            may_be_read_only = role == "shards.folder" and (required.shards_complete or not node.own)
            yield from _storage_of(node, folder, own[folder.path], role, may_be_read_only)


def _storage_of(
    node: NodeFacts, folder: FolderFacts, own: FolderFacts, role: str, may_be_read_only: bool
) -> Iterator[Finding]:
    where, why = f"{role} {folder.path}", f" ({folder.error})" if folder.error else ""
    if folder.seen is False or folder.read_back is False or folder.contents != own.contents:
        what = f"{where} cannot be read{why}" if why else f"{where} is not the same folder as on the driver's host"
        advice = f"mount the shared storage there, or set {role} to a folder on it"
        yield Finding("error", "storage", node.host, what, advice)
    elif not folder.written and not may_be_read_only:
        advice = "give this user write access there (owner, mode, read-only mount)"
        yield Finding("error", "storage", node.host, f"{where} cannot be written{why}", advice)


def check_disk(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """The disks have room for checkpoints and for Ray's session."""
    for node in facts.nodes:
        for folder in node.folders:
            counts = folder.path == required.run_folder and node.own and bool(folder.total)
            if counts and folder.free is not None and folder.free < LEAST_RUN_BYTES:
                what = f"{folder.path} has {_gib(folder.free)} free, but checkpoints need {_gib(LEAST_RUN_BYTES)}"
                yield Finding("warning", "disk", node.host, what, "free disk space, or set run.folder to another disk")
        free, total = node.temporary_free, node.temporary_total
        if free is not None and total and (free < LEAST_TEMPORARY_BYTES or free < (1 - FULL) * total):
            what = f"the disk of Ray's session has {_gib(free)} free of {_gib(total)}"
            yield Finding("warning", "disk", node.host, what, "free disk space, or use ray start --temp-dir")


def check_clocks(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Clocks agree, so that times in logs and of shared files are comparable."""
    for node in facts.nodes:
        if abs(node.clock_off_s) > SAME_CLOCK_S + node.clock_error_s:
            ahead = "ahead of" if node.clock_off_s > 0 else "behind"
            what = f"its clock is {abs(node.clock_off_s):.0f} s {ahead} the driver's"
            yield Finding("warning", "clock", node.host, what, "run timedatectl set-ntp true, or chrony")


def check_limits(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """The limit of open files is high enough."""
    for node in facts.nodes:
        if 0 <= node.open_files < LEAST_OPEN_FILES:
            what = f"a process may open {node.open_files} files, but needs {LEAST_OPEN_FILES}"
            yield Finding(
                "warning", "limits", node.host, what, "run ulimit -n 65536 before ray start, or edit limits.conf"
            )


def check_authentication(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """A joined cluster requires its token."""
    if facts.joined and any(not node.authenticated for node in facts.nodes):
        hosts = ", ".join(node.host for node in facts.nodes if not node.authenticated)
        advice = "set RAY_AUTH_MODE=token before ray start on every host"
        yield Finding("warning", "authentication", hosts, "Ray runs without token authentication", advice)


CHECKS: dict[str, Callable[[ClusterFacts, Requirements], Iterator[Finding]]] = {
    "hosts": check_answers,
    "versions": check_versions,
    "horovod": check_horovod,
    "gpus": check_gpus,
    "names": check_names,
    "network": check_network,
    "storage": check_storage,
    "disk": check_disk,
    "clock": check_clocks,
    "limits": check_limits,
    "authentication": check_authentication,
}
"""The checks by the name in their findings, in the order of the output."""


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
