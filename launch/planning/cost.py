"""The cost model: what a job takes, from what its steps compute, send and read. Arithmetic only.

A step of n workers on a global batch B takes

    step = max(compute + send, read)
    compute = slow_down * (fixed + B / n * page)
    send = max(ring(gradients) + ring(statistics) - overlap * 2/3 * compute, 0) + cycle
    read = bytes of all batches of the host / its bandwidth

and a job start-up + epochs * (steps * step + evaluation) + predictions of validation and test pages. An evaluation is
that of the validation pages and of the training batches from which BatchNorm's statistics are computed.
`docs/scaling.md` says where each term comes from and how well it meets what was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.schedule.slots import Placement
from launch.planning.ring import Network, busy_slots, ring_seconds, sharing
from trainer.config import JobConfig, TrainingConfig
from trainer.network.facts import ModelFacts

BACKWARD = 2 / 3
"""Share of a step's compute that is the backward pass: one product forward, two backward for each kernel."""
STACK_IMPORTS_S = 3.0


@dataclass(frozen=True)
class StepCost:
    """Seconds of compute of one worker: `fixed` a step, `page` a training page, `evaluated` a page forward only."""

    fixed: float
    page: float
    evaluated: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What jobs run on, apart from the network between.

    steps: cost of a step by the stage's image_px. cores: of a host whose slots are shares of its cores, 0 for
    GPUs. read: bytes a second that a host reads from the shards' storage. world_s: until Ray has started a job's
    workers; start_s: their imports, building and compiling. stack_page_s: of the stack's fits and scores, a
    validation page. overlap: share of the backward pass behind which gradients travel.
    """

    name: str
    steps: Mapping[int, StepCost]
    cores: int = 0
    read: float = 1e9
    world_s: float = 3.0
    start_s: float = 60.0
    stack_page_s: float = 2e-4
    overlap: float = 0.0


@dataclass(frozen=True)
class Pages:
    """How many pages there are, and the bytes of one as it lies in a shard."""

    train: int
    val: int
    test: int
    record_bytes: int


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """One job. Times in seconds, of a step where their names end in `step_s`; bytes of the whole job."""

    name: str
    stage: str
    placement: Placement
    epochs: int = 0
    steps: int = 0
    worker_batch: int = 0
    fixed_step_s: float = 0.0
    pages_step_s: float = 0.0
    send_step_s: float = 0.0
    wait_step_s: float = 0.0
    start_s: float
    train_s: float = 0.0
    evaluate_s: float = 0.0
    read_bytes: float = 0.0
    gradient_bytes: int = 0

    @property
    def workers(self) -> int:
        """Ranks of its world."""
        return len(self.placement.group.slots)

    @property
    def step_s(self) -> float:
        """A whole step."""
        return self.fixed_step_s + self.pages_step_s + self.send_step_s + self.wait_step_s

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.start_s + self.train_s + self.evaluate_s

    def shares(self) -> dict[str, float]:
        """Seconds of the job by what they are spent on."""
        steps = self.epochs * self.steps
        return {
            "compute": steps * self.pages_step_s if steps else self.train_s,
            "fixed cost of a step": steps * self.fixed_step_s,
            "all-reduce": steps * self.send_step_s,
            "reading": steps * self.wait_step_s,
            "evaluation": self.evaluate_s,
            "start-up": self.start_s,
        }


def training_cost(
    job: JobConfig,
    model: ModelFacts,
    *,
    pages: Pages,
    placements: Mapping[str, Placement],
    machine: Machine,
    network: Network,
) -> JobCost:
    """What a training job takes on its group, beside the other groups of its wave."""
    placement, stage, step = placements[job.name], job.stage, machine.steps[job.stage.image_px]
    workers = len(placement.group.slots)
    busy = busy_slots(job.name, placements)
    slow_down = max(1.0, busy / machine.cores) if machine.cores else 1.0
    batch = stage.global_batch // workers
    steps = pages.train // stage.global_batch
    fixed, of_pages = slow_down * step.fixed, slow_down * batch * step.page
    gradients = gradient_bytes(model, job.training)
    rings = sharing(job.name, placements)
    send = sum(
        ring_seconds(size, placement.group, network, sharing=rings) for size in (gradients, model.statistic_bytes)
    )
    hidden = machine.overlap * BACKWARD * (fixed + of_pages)
    send = max(0.0, send - hidden) + (network.cycle_s if workers > 1 else 0.0)
    read = busy * batch * pages.record_bytes / machine.read
    each_epoch = pages.val + job.training.batchnorm_batches * stage.global_batch
    looked_at = stage.epochs * each_epoch + pages.val + pages.test
    evaluated = looked_at / workers * step.evaluated * slow_down
    wait = max(0.0, read - fixed - of_pages - send)
    return JobCost(
        name=job.name,
        stage=job.stage_name,
        placement=placement,
        epochs=stage.epochs,
        steps=steps,
        worker_batch=batch,
        fixed_step_s=fixed,
        pages_step_s=of_pages,
        send_step_s=send,
        wait_step_s=wait,
        start_s=machine.world_s + machine.start_s * slow_down,
        train_s=stage.epochs * steps * (fixed + of_pages + send + wait),
        evaluate_s=evaluated,
        read_bytes=pages.record_bytes
        * (stage.epochs * (steps * stage.global_batch + pages.val) + pages.val + pages.test),
        gradient_bytes=gradients if workers > 1 else 0,
    )


def gradient_bytes(model: ModelFacts, training: TrainingConfig) -> int:
    """Bytes of one step's gradients as they travel."""
    return model.gradient_bytes // 2 if training.compression == "fp16" else model.gradient_bytes


def stack_cost(name: str, pages: Pages, *, placement: Placement, machine: Machine) -> JobCost:
    """What the stack takes: a small fit on the validation pages' outputs."""
    return JobCost(
        name=name,
        stage=name,
        placement=placement,
        start_s=machine.world_s + STACK_IMPORTS_S,
        train_s=machine.stack_page_s * pages.val,
    )


@dataclass(frozen=True)
class Times:
    """When a job runs, in seconds since the start of the run."""

    start: float
    end: float


def timeline(costs: Sequence[JobCost], needs: Mapping[str, Sequence[str]]) -> dict[str, Times]:
    """When each job runs: as soon as its needs are done and its slots are free, in order of the waves."""
    times: dict[str, Times] = {}
    free: dict[str, float] = {}
    for cost in sorted(costs, key=lambda cost: cost.placement.wave):
        slots = [str(slot) for slot in cost.placement.group.slots]
        start = max([0.0, *(times[need].end for need in needs[cost.name]), *(free.get(slot, 0.0) for slot in slots)])
        times[cost.name] = Times(start, start + cost.seconds)
        free |= dict.fromkeys(slots, start + cost.seconds)
    return times
