"""The cost model of `regionstack plan`: steps, bytes and seconds of one job. Arithmetic only.

A step of n workers on a global batch of B pages takes

    step      = compute + allreduce
    compute   = slowdown * (fixed + B / n * page)
    allreduce = ring(gradients) + ring(BatchNorm statistics) + cycle

and a job takes start-up + epochs * (steps * step + evaluation) + predictions on the validation and test pages. An
evaluation covers the validation pages and the training batches from which the BatchNorm statistics are computed.
`docs/scaling.md` gives the source of each term and compares the model with measurements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.schedule.slots import Group
from launch.planning.ring import Network, busy_slots, ring_seconds, rings_per_link
from trainer.config import JobConfig, TrainingConfig
from trainer.network.facts import ModelFacts

STACK_IMPORTS_S = 3.0
STACK_PAGE_S = 2e-4
"""Seconds per page that the stack is fitted on."""


@dataclass(frozen=True)
class StepCost:
    """Compute of one worker, in seconds: per step, per training page, and per evaluated page."""

    fixed_s: float
    page_s: float
    evaluation_page_s: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The hosts that jobs run on, without the network.

    Attributes:
        speed: Where `steps` comes from, for the reader of the plan.
        steps: Cost of a step, by the stage's `image_px`.
        cores: Cores of a host whose slots are shares of its cores; 0 for GPUs.
        world_s: Seconds until Ray has started a job's workers.
        startup_s: Seconds that a worker takes to import, build and compile.
    """

    speed: str
    steps: Mapping[int, StepCost]
    cores: int = 0
    world_s: float = 3.0
    startup_s: float = 60.0


@dataclass(frozen=True)
class PageCounts:
    """Pages by split, and the bytes of one page in a shard. held_out: training pages of a fold, not in `train`."""

    train: int
    val: int
    test: int
    record_bytes: int
    held_out: int = 0

    def of(self, job: JobConfig) -> "PageCounts":
        """The pages of one job, which trains on all folds but its own."""
        held_out = 0 if job.fold is None else self.train // job.fold.of
        return replace(self, train=self.train - held_out, held_out=held_out)


@dataclass(frozen=True, kw_only=True)
class EstimateInputs:
    """Everything an estimate depends on besides the configuration. models: facts by the stages' `image_px`."""

    pages: PageCounts
    models: Mapping[int, ModelFacts]
    machine: Machine
    network: Network


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """The estimate of one job.

    Times are in seconds: of one step where the name starts with `step_`, of the whole job otherwise. `steps` is per
    epoch, `worker_batch` is pages per worker and step, `read_bytes` is of the whole job, `host_read_rate` is the
    bytes per second that the busiest host reads for it and the jobs beside it, and `gradient_bytes` is per step.
    `folds` is 0 for a job that is not of a fold.
    """

    name: str
    stage: str
    group: Group
    epochs: int = 0
    steps: int = 0
    worker_batch: int = 0
    step_fixed_s: float = 0.0
    step_pages_s: float = 0.0
    step_allreduce_s: float = 0.0
    startup_s: float
    train_s: float = 0.0
    evaluate_s: float = 0.0
    read_bytes: float = 0.0
    host_read_rate: float = 0.0
    gradient_bytes: int = 0
    folds: int = 0

    @property
    def workers(self) -> int:
        """World size of the job."""
        return len(self.group.slots)

    @property
    def step_s(self) -> float:
        """Seconds of one step."""
        return self.step_fixed_s + self.step_pages_s + self.step_allreduce_s

    @property
    def seconds(self) -> float:
        """Seconds from the start of the job to its end."""
        return self.startup_s + self.train_s + self.evaluate_s

    def breakdown(self) -> dict[str, float]:
        """Seconds of the job by activity."""
        steps = self.epochs * self.steps
        return {
            "compute": steps * self.step_pages_s if steps else self.train_s,
            "fixed cost of a step": steps * self.step_fixed_s,
            "all-reduce": steps * self.step_allreduce_s,
            "evaluation": self.evaluate_s,
            "start-up": self.startup_s,
        }


def training_cost(job: JobConfig, group: Group, *, beside: Sequence[Group] = (), inputs: EstimateInputs) -> JobCost:
    """Cost of a training job on `group`, with other jobs on the groups `beside` it at the same time."""
    stage, pages, machine = job.stage, inputs.pages.of(job), inputs.machine
    step, model = machine.steps[stage.image_px], inputs.models[stage.image_px]
    workers, busy = len(group.slots), busy_slots(group, beside)
    slowdown = max(1.0, busy / machine.cores) if machine.cores else 1.0
    batch, steps = stage.global_batch // workers, pages.train // stage.global_batch
    fixed_s, pages_s = slowdown * step.fixed_s, slowdown * batch * step.page_s
    gradients = gradient_bytes(model, job.training)
    allreduce_s = 0.0
    if workers > 1:
        rings = rings_per_link(group, beside)
        allreduce_s = inputs.network.cycle_s + sum(
            ring_seconds(size, group, network=inputs.network, rings_per_link=rings)
            for size in (gradients, model.statistic_bytes)
        )
    step_s = fixed_s + pages_s + allreduce_s
    evaluated = pages.val + job.training.batchnorm_batches * stage.global_batch
    predicted = pages.held_out + pages.val + pages.test
    evaluated = stage.epochs * evaluated + job.training.views.count * predicted
    read = stage.epochs * (steps * stage.global_batch + pages.val) + predicted
    return JobCost(
        name=job.name,
        stage=job.stage_name,
        group=group,
        epochs=stage.epochs,
        steps=steps,
        worker_batch=batch,
        step_fixed_s=fixed_s,
        step_pages_s=pages_s,
        step_allreduce_s=allreduce_s,
        startup_s=machine.world_s + machine.startup_s * slowdown,
        train_s=stage.epochs * steps * step_s,
        evaluate_s=evaluated / workers * step.evaluation_page_s * slowdown,
        read_bytes=pages.record_bytes * read,
        host_read_rate=busy * batch * pages.record_bytes / step_s,
        gradient_bytes=gradients if workers > 1 else 0,
        folds=0 if job.fold is None else job.fold.of,
    )


def gradient_bytes(model: ModelFacts, training: TrainingConfig) -> int:
    """Bytes of one step's gradients as they are sent."""
    return model.gradient_bytes // 2 if training.compression == "fp16" else model.gradient_bytes


def stack_cost(name: str, pages: int, *, group: Group, machine: Machine) -> JobCost:
    """Cost of the stack: a small fit on the members' outputs for `pages` pages."""
    return JobCost(
        name=name,
        stage=name,
        group=group,
        startup_s=machine.world_s + STACK_IMPORTS_S,
        train_s=STACK_PAGE_S * pages,
    )
