"""A recipe's jobs as the scheduler takes them: target, payload, dependencies."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.schedule.job import JobSpec
from data_tools.config import to_mapping
from data_tools.errors import UserError
from launch.config import Config
from launch.recipe.stages import Recipe
from trainer.config import STACK, JobConfig, JobPayload
from trainer.stack.config import StackConfig


def job_specs(config: Config, folder: Path, recipe: Recipe, left: Sequence[str]) -> list[JobSpec]:
    """The jobs that are left, as the scheduler takes them; what is done already is no longer needed by any."""
    shards = str(Path(config.shards.folder).absolute())
    specs = []
    for job in recipe.jobs:
        if job.name in left:
            specs.append(
                JobSpec(
                    name=job.name,
                    target="trainer.job:run",
                    payload=payload(replace(job, shards=shards), folder),
                    workers=config.cluster.workers_per_region if _runs_beside_others(job, recipe) else None,
                    needs=(job.start_job,) if job.start_job is not None and job.start_job in left else (),
                    divides=job.stage.global_batch,
                    logs=str(folder / "jobs" / job.name),
                    heartbeats=str(folder / "jobs" / job.name),
                )
            )
    if STACK in left:
        specs.append(
            JobSpec(
                name=STACK,
                target="trainer.stack.job:run",
                workers=1,
                gpu=False,  # it fits a small model on stored outputs, on the CPU
                payload={
                    "run": str(folder),
                    "members": list(recipe.members),
                    "config": to_mapping(_with_absolute_path(config.stack)),
                    "seed": config.seed,
                },
                needs=tuple(name for name in recipe.members if name in left),
                logs=str(folder / "jobs" / STACK),
                heartbeats=str(folder / "jobs" / STACK),
            )
        )
    return specs


def _with_absolute_path(stack: StackConfig) -> StackConfig:
    """The list of duplicates by its absolute path, since workers run in folders of their own.

    Raises:
        UserError: it is not there; better said before days of training than after.
    """
    if stack.exclude_ids_file is None:
        return stack
    path = Path(stack.exclude_ids_file).absolute()
    if not path.is_file():
        raise UserError(f"stack.exclude_ids_file: {path}: no such file; regionstack survey writes it as leaked.txt")
    return replace(stack, exclude_ids_file=str(path))


def _runs_beside_others(job: JobConfig, recipe: Recipe) -> bool:
    return sum(other.stage_name == job.stage_name for other in recipe.jobs) > 1


def payload(job: JobConfig, folder: Path) -> dict[str, Any]:
    """What the workers of a training job are handed, as plain data."""
    return dict(to_mapping(JobPayload(config=job, run=str(folder))))
