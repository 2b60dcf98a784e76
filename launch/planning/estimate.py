"""The whole recipe on given hosts, by the cost model: jobs, times, GPU hours, and what limits it. Nothing is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from cluster.schedule.placement import plan_jobs
from cluster.schedule.slots import Host
from data_tools.shards.order import steps_per_epoch
from launch.config import Config
from launch.planning.cost import JobCost, Machine, Pages, Times, stack_cost, timeline, training_cost
from launch.planning.ring import Network
from launch.recipe.jobs import job_specs
from launch.recipe.stages import plan_recipe
from trainer.config import STACK
from trainer.network.facts import ModelFacts

HOUR = 3600.0
GPUS_A_HOST = 8
WORTH = 1.25
"""Twice the GPUs are said to be worth it where they make the run this much shorter."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What an estimate is made from. models: facts by the stages' image_px."""

    pages: Pages
    models: Mapping[int, ModelFacts]
    machine: Machine
    network: Network


@dataclass(frozen=True)
class Estimate:
    """The recipe's jobs in their order, on `hosts`."""

    hosts: tuple[Host, ...]
    costs: tuple[JobCost, ...]
    times: Mapping[str, Times]

    @property
    def slots(self) -> int:
        """GPUs, or shares of cores, of all hosts."""
        return sum(host.slots for host in self.hosts)

    @property
    def seconds(self) -> float:
        """From the start of the run to its end."""
        return max(times.end for times in self.times.values())

    @property
    def busy_slot_hours(self) -> float:
        """Slots times hours in which jobs hold them."""
        return sum(cost.workers * cost.seconds for cost in self.costs) / HOUR

    @property
    def held_slot_hours(self) -> float:
        """Slots times hours if all hosts are kept for the whole run."""
        return self.slots * self.seconds / HOUR

    def critical(self) -> list[JobCost]:
        """The chain of jobs without which the run would be shorter, the last one first."""
        by_end = sorted(self.costs, key=lambda cost: self.times[cost.name].end)
        chain = [by_end[-1]]
        while (start := self.times[chain[-1].name].start) > 0:
            chain.append(next(cost for cost in by_end if self.times[cost.name].end == start))
        return chain

    def shares(self) -> dict[str, float]:
        """Seconds of the run by what they are spent on, along the chain of jobs that decides its length."""
        total: dict[str, float] = {}
        for cost in self.critical():
            for name, seconds in cost.shares().items():
                total[name] = total.get(name, 0.0) + seconds
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @property
    def limit(self) -> str:
        """What most of that time is spent on."""
        return next(iter(self.shares()))


def estimate(config: Config, hosts: Sequence[Host], known: Known) -> Estimate:
    """Place the jobs as `train_all` would, and cost them.

    Raises:
        UserError: a recipe that cannot be planned, a batch larger than the training pages, too few slots.
    """
    # Where the list of duplicates lies does not matter to a plan, nor whether it is there yet.
    config = replace(config, stack=replace(config.stack, exclude_ids_file=None))
    recipe = plan_recipe(config)
    specs = job_specs(config, Path(config.run.folder), recipe, recipe.job_names)
    placements = plan_jobs(hosts, specs)
    costs = []
    for job in recipe.jobs:
        steps_per_epoch(known.pages.train, job.stage.global_batch)  # refuses a batch that no epoch fills
        costs.append(
            training_cost(
                job,
                known.models[job.stage.image_px],
                pages=known.pages,
                placements=placements,
                machine=known.machine,
                network=known.network,
            )
        )
    costs.append(stack_cost(STACK, known.pages, placement=placements[STACK], machine=known.machine))
    return Estimate(tuple(hosts), tuple(costs), timeline(costs, {spec.name: spec.needs for spec in specs}))


def even_hosts(gpus: int, hosts: int | None = None) -> list[Host]:
    """`gpus` slots on `hosts` hosts, as evenly as it goes; by default on hosts of 8."""
    count = hosts or -(-gpus // GPUS_A_HOST)
    return [Host(f"host-{i + 1}", gpus // count + (i < gpus % count)) for i in range(count)]


def scaling(config: Config, known: Known, *, most: int) -> list[Estimate]:
    """The recipe on 1, 2, 4 ... `most` GPUs."""
    counts = [2**i for i in range(most.bit_length()) if 2**i <= most]
    return [estimate(config, even_hosts(count), known) for count in counts]


def stops_at(estimates: Sequence[Estimate]) -> Estimate:
    """The first of them after which twice the GPUs no longer make the run `WORTH` times shorter."""
    for one, twice in pairwise(estimates):
        if one.seconds < WORTH * twice.seconds:
            return one
    return estimates[-1]
