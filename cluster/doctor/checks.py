"""What is wrong with hosts that jobs are about to run on: facts in, findings out; nothing is asked or changed here."""

from collections import Counter
from collections.abc import Callable, Iterator

from cluster.doctor.facts import ClusterFacts, FolderFacts, NodeFacts
from cluster.doctor.findings import LEVELS, Finding, Wanted

GIB = 2**30

SAME_CLOCK_S = 1.0
LEAST_OPEN_FILES = 4096
"""Ray's daemons alone hold about a thousand; each shard, log and connection of a worker is one more."""
LEAST_RUN_BYTES = 5 * GIB
"""Two checkpoints and the best one of five InceptionResNetV2 with Adam take 10 GB; half of it is no start."""
LEAST_TEMPORARY_BYTES = 2 * GIB
FULL = 0.95
"""Ray starts no work where the file system of its session is fuller."""
NAMES = {
    "python": "Python",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "horovod": "Horovod",
    "ray": "Ray",
    "numpy": "NumPy",
    "regionstack": "regionstack",
}
SET_UP = "run make env there, with the same requirements.lock"


def judge(facts: ClusterFacts, wanted: Wanted) -> list[Finding]:
    """All findings, errors first, otherwise in the order of the checks and hosts."""
    found = [finding for check in CHECKS.values() for finding in check(facts, wanted)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def check_answers(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Every host that Ray or the cluster's file names is there and answers."""
    for host, reason in facts.silent.items():
        mend = "see ray status and the raylet's log there; end it, and ray up or ray start brings it back"
        yield Finding("error", "hosts", host, f"Ray knows it and it does not answer ({reason})", mend)
    for host, reason in facts.absent.items():
        what = f"named in the cluster's file and not in the cluster ({reason})"
        yield Finding("error", "hosts", host, what, "ray up brings it in")


def check_versions(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """The same packages, and the same files of the project, as on the driver's host."""
    first = facts.nodes[0]
    for name, version in wanted.locked.items():
        found = first.versions.get(name)
        if found is not None and found.partition("+")[0] != version:
            what = f"{NAMES[name]} {found}, where the project is tested with {version}"
            yield Finding("warning", "versions", first.host, what, "make env")
    for node in facts.nodes:
        yield from _against(node, first)
        tensorflow = node.versions.get("tensorflow")
        built_for = _built_for(node.versions.get("horovod", ""))
        if built_for and tensorflow and built_for != tensorflow:
            what = f"Horovod was built for TensorFlow {built_for}, and TensorFlow is {tensorflow}"
            yield Finding("error", "versions", node.host, what, SET_UP)


def _against(node: NodeFacts, first: NodeFacts) -> Iterator[Finding]:
    for name in NAMES:
        ours, theirs = first.versions.get(name), node.versions.get(name)
        if theirs is None:
            yield Finding("error", "versions", node.host, f"{NAMES[name]} is not installed", SET_UP)
        elif ours is not None and theirs != ours:
            patch_only = name == "python" and theirs.split(".")[:2] == ours.split(".")[:2]
            what = f"{NAMES[name]} {theirs}, where {first.host} has {ours}"
            yield Finding("warning" if patch_only else "error", "versions", node.host, what, SET_UP)
    if node.source != first.source and node.versions.get("regionstack"):
        what = f"other files of the project ({node.source}) than on {first.host} ({first.source})"
        mend = "bring the same there: file_mounts of the cluster's file, or rsync"
        yield Finding("error", "versions", node.host, what, mend)


def _built_for(horovod: str) -> str | None:
    local = horovod.partition("+tf")[2]
    return ".".join(local.split(".")[:3]) if local else None


def check_horovod(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Horovod can be loaded, and was built for what the host has."""
    for node in facts.nodes:
        if node.load_error:
            yield Finding("error", "horovod", node.host, f"Horovod cannot be loaded ({node.load_error})", SET_UP)
        elif node.built is not None and "gloo" not in node.built:
            yield Finding("error", "horovod", node.host, "Horovod was built without Gloo", SET_UP)
        elif wanted.gpus and node.ray_gpus and node.built is not None and "nccl" not in node.built:
            what = f"{_count(node.ray_gpus, 'GPU')} and a Horovod without NCCL, which averages on the CPU"
            yield Finding("error", "horovod", node.host, what, "GPU=1 make env there, or cluster.gpus: 0")


def check_gpus(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Ray hands out the GPUs that there are, each by one host only, and TensorFlow sees them."""
    if not wanted.gpus:
        return
    for node in facts.nodes:
        if node.ray_gpus > len(node.gpus):
            what = f"Ray offers {_count(node.ray_gpus, 'GPU')} and NVIDIA's driver lists {len(node.gpus)}"
            yield Finding("error", "gpus", node.host, what, "start Ray there without --num-gpus, or mend the driver")
        elif node.gpus and not node.ray_gpus:
            what = f"{_count(len(node.gpus), 'GPU')} that Ray does not offer"
            yield Finding("warning", "gpus", node.host, what, "start Ray there with --num-gpus")
        if node.tensorflow_gpus is not None and node.tensorflow_gpus < min(node.ray_gpus, len(node.gpus)):
            what = f"TensorFlow sees {node.tensorflow_gpus} of {_count(len(node.gpus), 'GPU')}"
            yield Finding("error", "gpus", node.host, what, "GPU=1 make env there; its CUDA libraries come with it")
    owners = Counter(gpu for node in facts.nodes if node.ray_gpus for gpu in node.gpus)
    for gpu, count in owners.items():
        if count > 1:
            hosts = ", ".join(node.host for node in facts.nodes if gpu in node.gpus)
            yield Finding("error", "gpus", hosts, f"offer the same {gpu}", "run one Ray node a machine")


def check_names(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Every host's name leads to an address that the others reach, here and from the others."""
    addresses = {node.hostname: node.address for node in facts.nodes}
    for node in facts.nodes:
        entry = f"give it one in /etc/hosts there ({node.address} {node.hostname})"
        if node.name_address is None:
            what = f"its own name, {node.hostname}, has no address, and Horovod ends without one"
            yield Finding("error", "names", node.host, what, entry)
        elif facts.several_hosts and node.name_address.startswith("127."):
            what = f"its own name, {node.hostname}, leads to {node.name_address}, where no other host reaches it"
            yield Finding("error", "names", node.host, what, entry)
        elif facts.several_hosts and node.reverse is None:
            yield Finding("note", "names", node.host, f"{node.address} leads back to no name", "")
        for peer, found in node.peers.items():
            if found is None or found != addresses.get(peer, found):
                leads = "has no address" if found is None else f"leads to {found}"
                mend = f"an entry in /etc/hosts there ({addresses.get(peer)} {peer}), or a name server"
                yield Finding("warning", "names", node.host, f"the name {peer} {leads} there", mend)


def check_network(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """There is an interface for Gloo and NCCL, and hosts reach each other."""
    chosen: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.interface is None and (facts.several_hosts or wanted.interface):
            what, mend = node.interface_error or "no interface", "name one with cluster.interface"
            yield Finding("error", "network", node.host, what, mend)
        elif facts.several_hosts and node.address.startswith("127."):
            mend = "start Ray there with --node-ip-address"
            yield Finding("error", "network", node.host, f"Ray knows it as {node.address}, of itself alone", mend)
        elif facts.several_hosts or wanted.interface:
            chosen.setdefault(node.interface or "", []).append(f"{node.host} ({node.address})")
        for peer in node.unreached:
            mend = "open the ports between the hosts (firewall, security group)"
            yield Finding("error", "network", node.host, f"no connection to {peer}", mend)
    for interface, hosts in chosen.items():
        mend = "cluster.interface chooses another"
        yield Finding("note", "network", ", ".join(hosts), f"Gloo and NCCL use {interface}", mend)


def check_storage(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """The run's folder and the shards are the same storage everywhere; the run is written by all."""
    own = {folder.path: folder for folder in facts.nodes[0].folders}
    for node in facts.nodes:
        for folder in node.folders:
            role = "run.folder" if folder.path == wanted.run_folder else "shards.folder"
            may_stay_unwritten = role == "shards.folder" and (wanted.shards_complete or not node.own)
            yield from _storage_of(node, folder, own[folder.path], role, may_stay_unwritten)


def _storage_of(
    node: NodeFacts, folder: FolderFacts, own: FolderFacts, role: str, may_stay_unwritten: bool
) -> Iterator[Finding]:
    where, why = f"{role} {folder.path}", f" ({folder.error})" if folder.error else ""
    if folder.seen is False or folder.read_back is False or folder.contents != own.contents:
        what = f"{where} cannot be read{why}" if why else f"{where} holds other files than on the driver's host"
        mend = f"mount the shared storage there, or set {role} to a folder on it"
        yield Finding("error", "storage", node.host, what, mend)
    elif not folder.written and not may_stay_unwritten:
        mend = "let this user write there (owner, mode, read-only mount)"
        yield Finding("error", "storage", node.host, f"{where} cannot be written{why}", mend)


def check_disk(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """There is room for checkpoints, and for Ray's session."""
    for node in facts.nodes:
        for folder in node.folders:
            counts = folder.path == wanted.run_folder and node.own and bool(folder.total)
            if counts and folder.free is not None and folder.free < LEAST_RUN_BYTES:
                what = f"{folder.path} has {_gib(folder.free)} free, and checkpoints want {_gib(LEAST_RUN_BYTES)}"
                yield Finding("warning", "disk", node.host, what, "free some, or set run.folder elsewhere")
        free, total = node.temporary_free, node.temporary_total
        if free is not None and total and (free < LEAST_TEMPORARY_BYTES or free < (1 - FULL) * total):
            what = f"the disk of Ray's session has {_gib(free)} free of {_gib(total)}"
            yield Finding("warning", "disk", node.host, what, "free some, or ray start --temp-dir elsewhere")


def check_clocks(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Clocks agree, or times in logs and on shared files mislead."""
    for node in facts.nodes:
        if abs(node.clock_off_s) > SAME_CLOCK_S + node.clock_error_s:
            ahead = "ahead of" if node.clock_off_s > 0 else "behind"
            what = f"its clock is {abs(node.clock_off_s):.0f} s {ahead} the driver's"
            yield Finding("warning", "clock", node.host, what, "timedatectl set-ntp true, or chrony")


def check_limits(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Processes may open enough files."""
    for node in facts.nodes:
        if 0 <= node.open_files < LEAST_OPEN_FILES:
            what = f"a process may open {node.open_files} files, and {LEAST_OPEN_FILES} are wanted"
            yield Finding("warning", "limits", node.host, what, "ulimit -n 65536 before ray start, or limits.conf")


def check_authentication(facts: ClusterFacts, wanted: Wanted) -> Iterator[Finding]:
    """Nobody without the token reaches a joined cluster."""
    if facts.joined and any(not node.authenticated for node in facts.nodes):
        hosts = ", ".join(node.host for node in facts.nodes if not node.authenticated)
        mend = "RAY_AUTH_MODE=token before ray start on every host"
        yield Finding("warning", "authentication", hosts, "Ray runs without its token authentication", mend)


CHECKS: dict[str, Callable[[ClusterFacts, Wanted], Iterator[Finding]]] = {
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
"""The checks by the name that their findings carry, in the order in which a person reads them."""


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
