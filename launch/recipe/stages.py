"""The recipe as a plan: from the stages of the configuration to jobs that depend on each other. Runs nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from launch.config import Config
from launch.recipe.folds import fold_jobs_of, with_folds
from trainer.config import EACH_REGION, STACK, START_FROM_WEIGHTS, JobConfig, StageConfig


@dataclass(frozen=True)
class Recipe:
    """The training jobs, each after the one that it starts from.

    members: names of the models whose softmax outputs the stack takes, in its order: the last whole-page job, then the
    last job of each region. fold_jobs: with folds, the jobs by member that predict the training pages which they have
    not seen; otherwise empty. A member that is their average has no job of its own.
    """

    jobs: tuple[JobConfig, ...]
    members: tuple[str, ...]
    fold_jobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def job_names(self) -> tuple[str, ...]:
        """Names of all jobs in order, the stack last."""
        return (*(job.name for job in self.jobs), STACK)

    @property
    def stacked_jobs(self) -> tuple[str, ...]:
        """Names of the jobs whose outputs the stack reads."""
        names = {*self.members, *(name for names in self.fold_jobs.values() for name in names)}
        return tuple(job.name for job in self.jobs if job.name in names)

    def job(self, name: str) -> JobConfig:
        """The job of that name.

        Raises:
            UserError: there is no such job.
        """
        for job in self.jobs:
            if job.name == name:
                return job
        known = ", ".join(job.name for job in self.jobs)
        raise UserError(f"{name}: no such job in this configuration; its jobs: {known}")

    def of_stage(self, stage: str, region: str | None) -> JobConfig:
        """The job of a stage; of one of its regions if the stage trains each. The job of a fold, by its own name only.

        Raises:
            UserError: an unknown stage or region, or no region given for a stage that trains each.
        """
        named = [job for job in self.jobs if stage in (job.name, None if job.fold else job.stage_name)]
        found = [job for job in named if region in (None, job.region)]
        if len(found) == 1:
            return found[0]
        if not found:
            stages = ", ".join(dict.fromkeys(job.name if job.fold else job.stage_name for job in self.jobs))
            raise UserError(
                f"--stage {stage}{f' --region {region}' if region else ''}: no such stage; stages: {stages}"
            )
        raise UserError(
            f"--stage {stage}: has one job per region; add --region {' or '.join(job.region for job in found)}"
        )


def plan_recipe(config: Config, *, weights_file: str | None = None) -> Recipe:
    """Turn each stage into one job, or into one job per region if it has `region: each`; with `stack.folds`, also into
    the jobs of `with_folds`.

    weights_file: the local file that `model.weights` resolves to; None to train from scratch.

    Raises:
        UserError: a stage starts from one that does not exist or from itself, reads an unknown region, or two jobs
            would share a name.
    """
    boxes = config.boxes
    regions = [name for name in boxes if name != HOLISTIC]
    order = _in_order(config.stages)
    each = [name for name in order if config.stages[name].region == EACH_REGION]
    names: dict[str, dict[str, str]] = {}
    jobs: list[JobConfig] = []
    for stage_name in order:
        stage = config.stages[stage_name]
        where = f"stages.{stage_name}"
        if stage.region == EACH_REGION:
            # Only the jobs of the last such stage get the plain names of the regions.
            last = stage_name == each[-1]
            own = {region: region if last else f"{stage_name}_{region}" for region in regions}
        elif stage.region in boxes:
            own = {stage.region: stage_name}
        else:
            known = ", ".join([*boxes, EACH_REGION])
            raise UserError(f"{where}.region: {stage.region} is not a region; known: {known}")
        for region, name in own.items():
            start_job = _start_job(stage.start, region, names, where)
            jobs.append(_job(config, stage_name, region, name=name, start_job=start_job, weights_file=weights_file))
        names[stage_name] = own
    members, folds = _members(config, names), config.stack.folds
    plain = [job.name for job in jobs]
    if folds is not None:
        keep, grouped = config.stack.members == "retrained", config.stack.duplicates_file is not None
        jobs = with_folds(jobs, folds, keep=keep, grouped=grouped)
    _check_names([*plain, *(job.name for job in jobs if job.fold)])
    return Recipe(tuple(jobs), members, fold_jobs_of(members, folds))


def _job(
    config: Config, stage_name: str, region: str, *, name: str, start_job: str | None, weights_file: str | None
) -> JobConfig:
    return JobConfig(
        name=name,
        stage_name=stage_name,
        region=region,
        shards=str(config.paths.shards),
        seed=config.seed,
        stage=config.stages[stage_name],
        model=config.model,
        training=config.training,
        checkpoint=config.checkpoint,
        start_job=start_job,
        weights_file=weights_file if start_job is None else None,
        class_weights=_weights(config),
        corrected=config.data.corrections is not None,
        selection_share=config.stack.selection_share if config.stack.leak_free else None,
        event_files=config.tracking.tensorboard,
    )


def _weights(config: Config) -> Literal["balanced"] | dict[str, float] | None:
    """`data.class_weights` with text as keys, which JSON keeps."""
    given = config.data.class_weights
    return {str(key): weight for key, weight in given.items()} if isinstance(given, dict) else given


def _in_order(stages: Mapping[str, StageConfig]) -> list[str]:
    """Names of the stages, each after the one that it starts from, otherwise in the order of the file.

    Raises:
        UserError: a stage starts from one that does not exist, or stages start from each other.
    """
    order: list[str] = []
    while len(order) < len(stages):
        ready = [n for n, s in stages.items() if n not in order and s.start in (START_FROM_WEIGHTS, *order)]
        if not ready:
            stuck = next(name for name in stages if name not in order)
            known = ", ".join([START_FROM_WEIGHTS, *(name for name in stages if name != stuck)])
            problem = "is part of a cycle" if stages[stuck].start in stages else "is not a stage"
            raise UserError(f"stages.{stuck}.start: {stages[stuck].start} {problem}; choose from {known}")
        order.append(ready[0])
    return order


def _start_job(start: str, region: str, names: Mapping[str, Mapping[str, str]], where: str) -> str | None:
    if start == START_FROM_WEIGHTS:
        return None
    earlier = names[start]
    if region in earlier:
        return earlier[region]
    if len(earlier) == 1:
        return next(iter(earlier.values()))
    raise UserError(f"{where}.start: {start} trains no model of {region}")


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1 or name == STACK:
            raise UserError(f"stages: two jobs would be named {name}; rename the stage or the region")


def _members(config: Config, names: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The last job of each region, the whole page first."""
    last: dict[str, str] = {}
    for own in names.values():
        last |= own
    return tuple(last[region] for region in config.boxes if region in last)
