"""The `cluster` section of the configuration."""

from dataclasses import dataclass, field

from cluster.liveness.watch import Limits
from cluster.schedule.retry import RetryPolicy
from data_tools.errors import UserError

LEAST_OBJECT_STORE_MIB = 80


@dataclass(frozen=True, kw_only=True)
class HorovodConfig:
    """Settings of Horovod itself; null leaves Horovod's own default."""

    fusion_mib: int | None = None
    """Size of the buffer in which small gradients are joined."""
    cycle_ms: float | None = None
    """Time between two looks for gradients that are ready."""
    autotune: bool = False
    stall_warning_s: int = 60
    """A collective that some ranks have not joined for so long is told in the log; 0 turns the check off."""
    stall_shutdown_s: int = 300
    """... and after so long the job is ended, which counts as a failure; 0 waits for ever."""
    timeline: str | None = None
    """File into which rank 0 records every collective."""

    def __post_init__(self) -> None:
        for name in ("stall_warning_s", "stall_shutdown_s"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}: must be 0 or more, is {getattr(self, name)}")
        if self.stall_shutdown_s and self.stall_shutdown_s <= self.stall_warning_s:
            raise UserError(f"stall_shutdown_s: must be longer than stall_warning_s ({self.stall_warning_s})")
        if self.fusion_mib is not None and self.fusion_mib < 0:
            raise UserError(f"fusion_mib: must be 0 or more, is {self.fusion_mib}")
        if self.cycle_ms is not None and self.cycle_ms <= 0:
            raise UserError(f"cycle_ms: must be above 0, is {self.cycle_ms}")

    def environment(self) -> dict[str, str]:
        """The variables that Horovod reads in every worker."""
        values: dict[str, object] = {
            "HOROVOD_STALL_CHECK_TIME_SECONDS": self.stall_warning_s,
            "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": self.stall_shutdown_s,
        }
        if not self.stall_warning_s:
            values["HOROVOD_STALL_CHECK_DISABLE"] = 1
        if self.fusion_mib is not None:
            values["HOROVOD_FUSION_THRESHOLD"] = self.fusion_mib * 2**20
        if self.cycle_ms is not None:
            values["HOROVOD_CYCLE_TIME"] = self.cycle_ms
        if self.autotune:
            values["HOROVOD_AUTOTUNE"] = 1
        if self.timeline is not None:
            values["HOROVOD_TIMELINE"] = self.timeline
        return {name: str(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Where jobs run, on how many slots, and how failures are borne."""

    address: str | None = None
    """Ray's address to join (`auto`: the cluster that runs on this host, or RAY_ADDRESS); `local` starts a
    Ray of its own; null is `auto` where there is a cluster, else `local`."""
    gpus: int | None = None
    """GPUs of a Ray of our own; null is those that Ray finds. 0 trains on cores, on a joined cluster too."""
    slots: int | None = None
    """Slots of each host; null is one a GPU or, without GPUs, one a core. Slots may share cores."""
    bind_cores: bool = False
    """Keep each worker on its slot's own cores of the host. Without it, a job may use cores that are idle."""
    workers_per_region: int | None = None
    """Workers of each region job; null is as many as fit when all regions run at once."""
    max_failures: int = 3
    """Failures of a running job that are borne before the job is given up."""
    max_start_failures: int = 3
    """The same for failures to start, which are counted apart."""
    start_timeout_s: int = 300
    """A job whose workers are not up so long after its slots were free has failed to start."""
    busy_timeout_s: int = 3600
    """How long a job waits for slots that something else on the cluster uses."""
    request_slots: int | None = None
    """Slots, of all hosts together, that a cluster which grows by itself is asked for at once, before anything is
    placed (GPUs, with `gpus: 0` cores); null takes the cluster as it is. 16: four region groups of four."""
    gather_timeout_s: int = 900
    """How long to wait for these, and for hosts that `ray up` is still setting up."""
    lost_host_timeout_s: int = 1800
    """How long a job waits for lost hosts to come back, where those that are left are too few for it."""
    silence_timeout_s: int = 300
    """A worker that gives no sign of life for so long hangs; 0: for ever. Signs come about once a second."""
    step_timeout_s: int = 900
    """The same for workers that live, but finish no training step for so long."""
    phase_timeout_s: int = 3600
    """The same outside training: until the first step, between two batches of an evaluation, in a save."""
    stop_timeout_s: int = 120
    """How long workers that were asked to stop may take to save and leave."""
    interface: str | None = None
    """Network interface of Gloo and NCCL; null is the one that holds the host's address in Ray."""
    object_store_mib: int = 128
    """Shared memory of a Ray of our own; jobs exchange next to nothing through it."""
    dashboard: bool = False
    """Ray's dashboard, on loopback, for a Ray of our own."""
    horovod: HorovodConfig = field(default_factory=HorovodConfig)
    environment: dict[str, str] = field(default_factory=dict)
    """More environment variables for every worker."""

    def __post_init__(self) -> None:
        counts = ("slots", "workers_per_region", "request_slots")
        for name in (*counts, "start_timeout_s", "busy_timeout_s", "stop_timeout_s"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}: must be 1 or more, is {value}")
        times = ("gather_timeout_s", "lost_host_timeout_s", "silence_timeout_s", "step_timeout_s", "phase_timeout_s")
        for name in ("gpus", "max_failures", "max_start_failures", *times):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UserError(f"{name}: must be 0 or more, is {value}")
        if self.object_store_mib < LEAST_OBJECT_STORE_MIB:
            raise UserError(f"object_store_mib: Ray needs {LEAST_OBJECT_STORE_MIB}, is {self.object_store_mib}")

    @property
    def retries(self) -> RetryPolicy:
        """The same limits, as the decision wants them."""
        return RetryPolicy(self.max_failures, self.max_start_failures, self.lost_host_timeout_s)

    @property
    def limits(self) -> Limits:
        """How long workers may be silent or still."""
        return Limits(self.silence_timeout_s, self.step_timeout_s, self.phase_timeout_s)
