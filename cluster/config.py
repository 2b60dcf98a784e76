"""The `cluster` section of the configuration."""

from dataclasses import dataclass, field
from typing import Literal

from cluster.liveness.watch import Limits
from cluster.schedule.retry import RetryPolicy
from data_tools.errors import UserError

LEAST_OBJECT_STORE_MIB = 80
GATHER_S = 900
GATHER_MACHINES_S = 2400


@dataclass(frozen=True, kw_only=True)
class HorovodConfig:
    """Settings of Horovod; null keeps Horovod's default."""

    fusion_mib: int | None = None
    """Size of the fusion buffer, MiB."""
    cycle_ms: float | None = None
    """Time between two checks for gradients that are ready, ms."""
    autotune: bool = False
    stall_warning_s: int = 60
    """A collective that some ranks have not joined for this long is logged; 0 turns the check off."""
    stall_shutdown_s: int = 300
    """After this long the job is shut down, which counts as a failure; 0 waits forever."""
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
        """The environment variables that Horovod reads in every worker."""
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
    """Where jobs run, on how many slots, and how failures are handled."""

    address: str | None = None
    """Address of the Ray cluster to join (`auto`: the one that runs on this host, or RAY_ADDRESS); `local` starts a
    private Ray; null is `auto` where a cluster runs, and `local` otherwise."""
    gpus: int | None = None
    """GPUs of a private Ray; null uses those that Ray finds. 0 trains on cores, also on a joined cluster."""
    slots: int | None = None
    """Slots of each host; null is one per GPU or, without GPUs, one per core. Slots may share cores."""
    bind_cores: bool = False
    """Bind each worker to its slot's cores. Otherwise a job may use idle cores of its hosts."""
    workers_per_region: int | None = None
    """Workers of each region job; null uses as many as fit when all regions run at once."""
    workers_per_stage: Literal["auto"] | dict[str, int] | None = None
    """Workers of each job by stage, for the stages named; `auto`: as `regionstack plan --rate assumed` recommends for
    the hosts; null uses as many as fit, and `workers_per_region` for region jobs."""
    reuse_workers: bool = True
    """Run a job in the processes of an earlier one that had the same slots or, for a job of one worker on cores, also
    its slot; the figures are the same."""
    max_failures: int = 3
    """Failures of a running job that are tolerated; the next one fails the job."""
    max_start_failures: int = 3
    """The same for failures to start, which are counted separately."""
    start_timeout_s: int = 300
    """A job whose workers are not up this long after its slots were free has failed to start."""
    busy_timeout_s: int = 3600
    """How long a job waits for slots that other programs on the cluster use."""
    request_slots: int | None = None
    """Slots on all hosts together to request from an autoscaling cluster before any job is placed (GPUs; cores with
    `gpus: 0`); null requests all where node types scale (`remote.scale`), and otherwise uses the cluster as it is."""
    gather_timeout_s: int | None = None
    """How long to wait for requested slots, and for hosts that `ray up` is still setting up; null is 900 and, with
    `request_slots`, 2400: a new machine boots, and installs 4 GB of packages and NVIDIA's driver."""
    lost_host_timeout_s: int = 1800
    """How long a job waits for lost hosts to return while the remaining ones have too few slots for it."""
    silence_timeout_s: int = 300
    """A worker without a heartbeat for this long, plus the heartbeat interval, hangs; 0: no limit."""
    step_timeout_s: int = 900
    """A live worker that finishes no training step for this long hangs; 0: no limit."""
    phase_timeout_s: int = 3600
    """The same outside training: until the first step, between two batches of an evaluation, during a save."""
    stop_timeout_s: int = 120
    """How long workers may take to save and exit after a stop request."""
    interface: str | None = None
    """Network interface of Gloo and NCCL; null uses the one that holds the host's address in Ray."""
    object_store_mib: int = 128
    """Shared memory of a private Ray, MiB; jobs hardly use it."""
    dashboard: bool = False
    """Start the dashboard of a private Ray, on loopback."""
    horovod: HorovodConfig = field(default_factory=HorovodConfig)
    environment: dict[str, str] = field(default_factory=dict)
    """More environment variables for every worker; they override all others."""

    def __post_init__(self) -> None:
        counts = ("slots", "workers_per_region", "request_slots")
        for name in (*counts, "start_timeout_s", "busy_timeout_s", "stop_timeout_s"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}: must be 1 or more, is {value}")
        given = self.workers_per_stage
        for stage, value in (given if isinstance(given, dict) else {}).items():
            if value < 1:
                raise UserError(f"workers_per_stage.{stage}: must be 1 or more, is {value}")
        if self.workers_per_region is not None and given == "auto":
            raise UserError("workers_per_region, workers_per_stage: auto chooses both; remove workers_per_region")
        times = ("gather_timeout_s", "lost_host_timeout_s", "silence_timeout_s", "step_timeout_s", "phase_timeout_s")
        for name in ("gpus", "max_failures", "max_start_failures", *times):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UserError(f"{name}: must be 0 or more, is {value}")
        if self.object_store_mib < LEAST_OBJECT_STORE_MIB:
            raise UserError(f"object_store_mib: Ray needs {LEAST_OBJECT_STORE_MIB}, is {self.object_store_mib}")

    @property
    def gather_limit_s(self) -> int:
        """`gather_timeout_s`, or its default."""
        if self.gather_timeout_s is not None:
            return self.gather_timeout_s
        return GATHER_S if self.request_slots is None else GATHER_MACHINES_S

    @property
    def retries(self) -> RetryPolicy:
        """The limits of retries."""
        return RetryPolicy(self.max_failures, self.max_start_failures, self.lost_host_timeout_s)

    @property
    def limits(self) -> Limits:
        """The limits of hang detection."""
        return Limits(self.silence_timeout_s, self.step_timeout_s, self.phase_timeout_s)
