"""Estimates the whole recipe on given hosts: jobs, times, GPU hours and the bottleneck. Starts nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cluster.schedule.job import JobSpec
from cluster.schedule.placement import plan_workers
from cluster.schedule.simulation import Span, simulate
from cluster.schedule.slots import Group, Host
from data_tools.shards.order import steps_per_epoch
from launch.config import Config
from launch.planning.cost import EstimateInputs, JobCost, stack_cost, training_cost
from launch.recipe.jobs import job_specs
from launch.recipe.stages import Recipe, plan_recipe
from trainer.config import STACK

HOUR = 3600.0
GPUS_PER_HOST = 8
ROUNDS = 5
"""How often durations and schedule, which depend on each other, are computed in turn at most."""
MIN_SPEEDUP = 1.25
"""Doubling the GPUs pays off if the run gets at least this many times shorter."""


@dataclass(frozen=True)
class Estimate:
    """The recipe's jobs, in order, on `hosts`. spans: when each job runs."""

    hosts: tuple[Host, ...]
    costs: tuple[JobCost, ...]
    spans: Mapping[str, Span]

    @property
    def slots(self) -> int:
        """GPUs, or shares of cores, of all hosts."""
        return sum(host.slots for host in self.hosts)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the run to its end."""
        return max(span.end for span in self.spans.values())

    @property
    def used_slot_hours(self) -> float:
        """Slot hours, counting each slot while a job holds it."""
        return sum(cost.workers * cost.seconds for cost in self.costs) / HOUR

    @property
    def reserved_slot_hours(self) -> float:
        """Slot hours, counting all slots for the whole run."""
        return self.slots * self.seconds / HOUR

    def critical_path(self) -> list[JobCost]:
        """The chain of jobs that decides the length of the run, the last job first."""
        by_end = sorted(self.costs, key=lambda cost: self.spans[cost.name].end)
        path = [by_end[-1]]
        while (start := self.spans[path[-1].name].start) > 0:
            path.append(next(cost for cost in by_end if self.spans[cost.name].end == start))
        return path

    def breakdown(self) -> dict[str, float]:
        """Seconds of the critical path by activity, the largest first."""
        total: dict[str, float] = {}
        for cost in self.critical_path():
            for activity, seconds in cost.breakdown().items():
                total[activity] = total.get(activity, 0.0) + seconds
        return dict(sorted(total.items(), key=lambda item: -item[1]))


def estimate(
    config: Config, hosts: Sequence[Host], *, inputs: EstimateInputs, workers: Mapping[str, int] | None = None
) -> Estimate:
    """Place the jobs as `train_all` would, and estimate each.

    workers: the number of workers by job; None: what `plan_workers` gives.

    Raises:
        UserError: The recipe cannot be planned, a batch is larger than the training set, or slots are missing.
    """
    recipe = plan_recipe(config)
    specs = job_specs(config, recipe, recipe.job_names)
    for job in recipe.jobs:
        steps_per_epoch(inputs.pages.of(job).train, job.stage.global_batch)  # rejects a batch larger than an epoch
    numbers = plan_workers(hosts, specs) | dict(workers or {})
    costs, spans = _schedule(recipe, specs, workers=numbers, hosts=hosts, inputs=inputs)
    return Estimate(tuple(hosts), tuple(costs[name] for name in recipe.job_names), spans)


def _schedule(
    recipe: Recipe,
    specs: Sequence[JobSpec],
    *,
    workers: Mapping[str, int],
    hosts: Sequence[Host],
    inputs: EstimateInputs,
) -> tuple[dict[str, JobCost], dict[str, Span]]:
    """Costs and spans by job. Jobs that run at the same time slow each other down, which moves the later ones."""
    costs: dict[str, JobCost] = {}
    spans: dict[str, Span] = {}
    for _ in range(ROUNDS):
        earlier = spans
        costs = {}
        spans = simulate(hosts, specs, workers=workers, seconds=_durations(recipe, inputs, spans=earlier, costs=costs))
        if spans == earlier:
            break
    return costs, spans


def _durations(
    recipe: Recipe, inputs: EstimateInputs, *, spans: Mapping[str, Span], costs: dict[str, JobCost]
) -> Callable[[str, Group], float]:
    """The seconds of a job on a group, beside the jobs that overlap it in `spans`; keeps each cost in `costs`."""

    def seconds(name: str, group: Group) -> float:
        beside = _beside(name, spans)
        if name == STACK:
            fitted = inputs.pages.train if recipe.fold_jobs else inputs.pages.val
            costs[name] = stack_cost(STACK, fitted, group=group, machine=inputs.machine)
        else:
            costs[name] = training_cost(recipe.job(name), group, beside=beside, inputs=inputs)
        return costs[name].seconds

    return seconds


def _beside(name: str, spans: Mapping[str, Span]) -> list[Group]:
    """The groups of the other jobs that run while the job `name` does."""
    if name not in spans:
        return []
    own = spans[name]
    return [
        span.group for other, span in spans.items() if other != name and span.start < own.end and own.start < span.end
    ]


def even_hosts(gpus: int, hosts: int | None = None) -> list[Host]:
    """`gpus` slots spread evenly over `hosts` hosts; by default 8 per host."""
    count = hosts or -(-gpus // GPUS_PER_HOST)
    return [Host(f"host-{i + 1}", gpus // count + (i < gpus % count)) for i in range(count)]


def scaling(config: Config, inputs: EstimateInputs, *, max_gpus: int) -> list[Estimate]:
    """Estimates of the recipe on 1, 2, 4 ... GPUs, up to `max_gpus`."""
    counts = [2**i for i in range(max_gpus.bit_length()) if 2**i <= max_gpus]
    return [estimate(config, even_hosts(count), inputs=inputs) for count in counts]


def last_worthwhile(estimates: Sequence[Estimate]) -> Estimate:
    """The first estimate after which doubling the GPUs no longer shortens the run by `MIN_SPEEDUP`."""
    for current, doubled in pairwise(estimates):
        if current.seconds < MIN_SPEEDUP * doubled.seconds:
            return current
    return estimates[-1]
