"""The number of workers of each stage: the fastest, and the cheapest that is nearly as fast. Arithmetic only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.schedule.placement import divisors, plan_workers, workers_that_fit
from cluster.schedule.slots import Host
from launch.config import Config
from launch.planning.cost import EstimateInputs
from launch.planning.estimate import HOUR, Estimate, estimate
from launch.recipe.jobs import job_specs
from launch.recipe.stages import Recipe, plan_recipe
from trainer.config import JobConfig

SLOWER = 1.1
"""A number of workers is recommended if its stage takes at most this many times as long as with the fastest number."""


@dataclass(frozen=True)
class Choice:
    """One number of workers for each job of a stage.

    Attributes:
        seconds: From the time at which the stage's first job is ready to the end of its last one.
        slot_hours: Of all its jobs.
    """

    workers: int
    seconds: float
    slot_hours: float


@dataclass(frozen=True)
class StageWorkers:
    """The numbers of workers that a stage can have on given hosts. choices: the largest number first."""

    stage: str
    choices: tuple[Choice, ...]

    @property
    def fastest(self) -> Choice:
        """The choice that ends first; of two equals the one with fewer workers."""
        return min(self.choices, key=lambda choice: (choice.seconds, choice.workers))

    @property
    def recommended(self) -> Choice:
        """The cheapest of the choices that take at most `SLOWER` times as long as the fastest."""
        allowed = [choice for choice in self.choices if choice.seconds <= SLOWER * self.fastest.seconds]
        return min(allowed, key=lambda choice: (choice.slot_hours, choice.workers))


def recommend(config: Config, hosts: Sequence[Host], *, inputs: EstimateInputs) -> list[StageWorkers]:
    """What each stage would take with every number of workers that divides its batch, in the order of the recipe.

    A job never gets more workers than let all jobs of its stage run at once. Each stage is estimated beside the
    recommended numbers of those before it, with which it may share the slots.

    Raises:
        UserError: see `estimate`.
    """
    recipe = plan_recipe(config)
    workers = plan_workers(hosts, job_specs(config, recipe, recipe.job_names))
    found = []
    for stage in dict.fromkeys(job.stage_name for job in recipe.jobs):
        jobs = [job for job in recipe.jobs if job.stage_name == stage]
        names, pages = [job.name for job in jobs], config.stages[stage].pages_at_once
        choices = []
        for number in divisors(pages, most=workers_that_fit(hosts, names, global_batch=pages)):
            plan = estimate(config, hosts, inputs=inputs, workers=workers | dict.fromkeys(names, number))
            choices.append(_choice(number, jobs, plan))
        found.append(StageWorkers(stage, tuple(choices)))
        workers |= dict.fromkeys(names, found[-1].recommended.workers)
    return found


def workers_of_jobs(recipe: Recipe, stages: Sequence[StageWorkers]) -> Mapping[str, int]:
    """The recommended number of workers by job."""
    recommended = {stage.stage: stage.recommended.workers for stage in stages}
    return {job.name: recommended[job.stage_name] for job in recipe.jobs}


def _choice(workers: int, jobs: Sequence[JobConfig], plan: Estimate) -> Choice:
    names = [job.name for job in jobs]
    ready = [0.0 if job.start_job is None else plan.spans[job.start_job].end for job in jobs]
    costs = [cost for cost in plan.costs if cost.name in names]
    return Choice(
        workers=workers,
        seconds=max(plan.spans[name].end for name in names) - min(ready),
        slot_hours=sum(cost.workers * cost.seconds for cost in costs) / HOUR,
    )
