"""Facts about each host before a job starts, what they are checked against, and findings; plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class FolderFacts:
    """A shared folder as one host sees it. Sizes in bytes.

    seen: whether the host finds the file that the driver wrote, with its content; None where the driver could not write
    one. read_back: the same for the host's own file, read by the driver. contents: digest of the folder's manifests;
    None without them. error: the operating system's reason for a failed access.
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
    """The facts about a host that answered.

    host: its name among Ray's hosts; hostname: its own. source: digest of the project files. built: what Horovod is
    built with; None where unknown. ray_gpus: number of GPUs that Ray offers; gpus: UUIDs of those that NVIDIA's driver
    lists; capabilities: their compute capabilities (`8.9`), as far as nvidia-smi reports them; tensorflow_capabilities:
    those that TensorFlow is built for (`sm_80`, `compute_90`). tensorflow_gpus: number that TensorFlow sees, None if it
    was not loaded. slots: how many ranks the host may run; None where unknown. name_address: the address that its own
    name resolves to; peers: those of the other hosts' names, by name; unreached: hosts it could not connect to.
    clock_off_s: this host's clock minus the driver's, in seconds, known to clock_error_s. temporary_free,
    temporary_total: bytes of the disk of Ray's session.
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
    capabilities: tuple[str, ...] = ()
    tensorflow_capabilities: tuple[str, ...] = ()
    slots: int | None = None
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

    silent: hosts that Ray lists as alive and that did not answer, with the reason. absent: hosts that a cluster file
    lists and Ray does not, with what is known of them. joined: whether this is a joined cluster, not this host alone.
    """

    nodes: tuple[NodeFacts, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    joined: bool = False

    @property
    def several_hosts(self) -> bool:
        """Whether a world may span hosts."""
        return len({node.address for node in self.nodes}) > 1


Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's output. advice: what to do; may be empty."""

    level: Level
    check: str
    where: str
    what: str
    advice: str

    def line(self) -> str:
        """`HOST: what; advice`."""
        return f"{self.where}: {self.what}; {self.advice}" if self.advice else f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What the hosts are checked against.

    gpus: whether jobs train on GPUs where hosts have some. interface: the configured one. locked: the versions that the
    project is tested with. run_folder, shards_folder: paths; None without a configuration. shards_complete: whether
    nothing is left to convert, so that read access to the shards is enough.
    """

    gpus: bool = True
    interface: str | None = None
    locked: Mapping[str, str] = field(default_factory=dict)
    run_folder: str | None = None
    shards_folder: str | None = None
    shards_complete: bool = False


def errors(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with which no job should start."""
    return [finding for finding in findings if finding.level == "error"]


def built_of_version(version: str | None) -> tuple[str, ...] | None:
    """What a Horovod that `make env` installed is built with, from its version (`0.28.1+tf2.21.0.cpu.r3`)."""
    parts = (version or "").partition("+")[2].split(".")
    if "cpu" in parts:
        return ("gloo",)
    return ("gloo", "nccl") if any(part.startswith("nccl") for part in parts) else None


def facts_of(found: Mapping[str, Any], **known: Any) -> NodeFacts:
    """The facts from the report of `probe.Probe.look`, and from what is `known` of the host without asking it."""
    loaded = found["loaded"] or {}
    built = tuple(loaded["built"]) if "built" in loaded else built_of_version(found["versions"].get("horovod"))
    plain = ("hostname", "versions", "source", "interface", "interface_error", "name_address", "reverse", "peers")
    return NodeFacts(
        built=built,
        load_error=loaded.get("error"),
        tensorflow_gpus=loaded.get("gpus"),
        gpus=tuple(found["gpus"]),
        capabilities=tuple(found["capabilities"]),
        tensorflow_capabilities=tuple(found["tensorflow_capabilities"]),
        unreached=tuple(found["unreached"]),
        folders=tuple(FolderFacts(**folder) for folder in found["folders"]),
        open_files=found["open_files"],
        temporary_free=found["temporary"].get("free"),
        temporary_total=found["temporary"].get("total"),
        authenticated=found["authenticated"],
        **{name: found[name] for name in plain},
        **known,
    )
