"""What is known of each host before a job starts, as plain values; `doctor.py` judges them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FolderFacts:
    """A shared folder as one host sees it. Sizes in bytes.

    seen: whether the file that the driver wrote was found with its content; None where the driver could write
    none. read_back: the same for the host's own file, read by the driver. contents: digest of the folder's
    manifests, None without them.
    """

    path: str
    seen: bool | None = None
    written: bool = False
    read_back: bool | None = None
    contents: str | None = None
    error: str | None = None
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """A host that answered.

    host: the name that it has among Ray's hosts; hostname: its own. source: digest of the project's files.
    built: what Horovod was built with, None where that is not known. ray_gpus: GPUs that Ray hands out; gpus:
    UUIDs of those that NVIDIA's driver lists; tensorflow_gpus: how many TensorFlow sees, None if not asked.
    name_address: what the own name leads to; peers: what the other hosts' names lead to here, by name;
    unreached: other hosts to which no connection came about. clock_off_s: this host's clock less the driver's,
    known to clock_error_s.
    """

    host: str
    hostname: str
    address: str
    own: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    built: tuple[str, ...] | None = None
    load_error: str | None = None
    ray_gpus: int = 0
    gpus: tuple[str, ...] = ()
    tensorflow_gpus: int | None = None
    interface: str | None = None
    interface_error: str | None = None
    name_address: str | None = None
    reverse: str | None = None
    peers: Mapping[str, str | None] = field(default_factory=dict)
    unreached: tuple[str, ...] = ()
    folders: tuple[FolderFacts, ...] = ()
    open_files: int = 0
    temporary_free: int | None = None
    temporary_total: int | None = None
    authenticated: bool = True
    clock_off_s: float = 0.0
    clock_error_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """All hosts, the driver's own first.

    silent: hosts that Ray holds for alive and that did not answer, with the reason. absent: hosts that a cluster
    file names and Ray does not know, with what is known of them. joined: whether this is a cluster that was
    joined, and not this host alone.
    """

    nodes: tuple[NodeFacts, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    joined: bool = False

    @property
    def several_hosts(self) -> bool:
        """Whether a world may span machines."""
        return len({node.address for node in self.nodes}) > 1


def built_of_version(version: str | None) -> tuple[str, ...] | None:
    """What a Horovod of our own set-up was built with, from its version (`0.28.1+tf2.21.0.cpu.r2`)."""
    parts = (version or "").partition("+")[2].split(".")
    if "cpu" in parts:
        return ("gloo",)
    return ("gloo", "nccl") if any(part.startswith("nccl") for part in parts) else None


def facts_of(found: Mapping[str, Any], **known: Any) -> NodeFacts:
    """The facts from what `node_probe.Probe.look` found, and from what is `known` of the host without asking it."""
    loaded = found["loaded"] or {}
    built = tuple(loaded["built"]) if "built" in loaded else built_of_version(found["versions"].get("horovod"))
    plain = ("hostname", "versions", "source", "interface", "interface_error", "name_address", "reverse", "peers")
    return NodeFacts(
        built=built,
        load_error=loaded.get("error"),
        tensorflow_gpus=loaded.get("gpus"),
        gpus=tuple(found["gpus"]),
        unreached=tuple(found["unreached"]),
        folders=tuple(FolderFacts(**folder) for folder in found["folders"]),
        open_files=found["open_files"],
        temporary_free=found["temporary"].get("free"),
        temporary_total=found["temporary"].get("total"),
        authenticated=found["authenticated"],
        **{name: found[name] for name in plain},
        **known,
    )
