"""The jobs of a recipe as the scheduler takes them: target, payload, dependencies."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from cluster.schedule.job import JobSpec
from cluster.schedule.placement import divisors
from data_tools.config import to_mapping
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.labels.classes.weights import weight_of_each
from data_tools.shards.manifest import MANIFEST
from data_tools.shards.shard_set import ShardSet
from launch.config import Config
from launch.recipe.stages import Recipe
from trainer.config import STACK, JobConfig, JobPayload
from trainer.job_folder.corrections import kept_corrections
from trainer.job_folder.journal import job_folder


def job_specs(config: Config, recipe: Recipe, unfinished: Collection[str]) -> list[JobSpec]:
    """The jobs named in `unfinished`, in the order of the recipe. They depend on each other, not on finished jobs."""
    specs = [_training_spec(config, recipe, job, unfinished) for job in recipe.jobs if job.name in unfinished]
    return [*specs, _stack_spec(config, recipe, unfinished)] if STACK in unfinished else specs


def check_exclude_ids(config: Config) -> None:
    """Check that the list of duplicates exists, before days of training and not after.

    Raises:
        UserError: it does not.
    """
    path = config.paths.exclude_ids_file
    if path is not None and not path.is_file():
        raise UserError(f"stack.exclude_ids_file: {path}: no such file; regionstack survey writes it as leaked.txt")


def payload(job: JobConfig, run: Path) -> dict[str, Any]:
    """The argument of `trainer.job:run` as plain data."""
    return dict(to_mapping(JobPayload(config=job, run=str(run))))


def trained_share(job: JobConfig) -> float:
    """The share of the training pages that a job trains on: all, or all but one fold."""
    return 1.0 if job.fold is None else 1.0 - 1.0 / job.fold.of


def _training_spec(config: Config, recipe: Recipe, job: JobConfig, unfinished: Collection[str]) -> JobSpec:
    folder = str(job_folder(config.paths.run, job.name))
    parallel = sum(other.stage_name == job.stage_name for other in recipe.jobs) > 1
    return JobSpec(
        name=job.name,
        target="trainer.job:run",
        payload=payload(job, config.paths.run),
        workers=_requested_workers(config, job.stage_name, parallel=parallel),
        depends_on=(job.start_job,) if job.start_job is not None and job.start_job in unfinished else (),
        global_batch=job.stage.pages_at_once,
        logs=folder,
        heartbeats=folder,
        reuse_workers=config.cluster.reuse_workers,
        # All jobs of a run train on the same pages but their fold, and a step takes as long as its pages have pixels.
        work=job.stage.epochs * job.stage.image_px**2 * trained_share(job),
    )


def _requested_workers(config: Config, stage: str, *, parallel: bool) -> int | None:
    """The number of workers that the configuration fixes for each job of a stage; None leaves it to the planner.

    Raises:
        UserError: the configuration names a stage that does not exist, or a number that does not divide the batch.
    """
    by_stage = config.cluster.workers_per_stage
    by_stage = by_stage if isinstance(by_stage, dict) else {}
    if unknown := [name for name in by_stage if name not in config.stages]:
        known = ", ".join(config.stages)
        raise UserError(f"cluster.workers_per_stage.{unknown[0]}: no such stage; stages: {known}")
    key = f"workers_per_stage.{stage}" if stage in by_stage else "workers_per_region"
    workers = by_stage.get(stage, config.cluster.workers_per_region if parallel else None)
    pages = config.stages[stage].pages_at_once
    if workers is not None and pages % workers:
        possible = ", ".join(map(str, reversed(divisors(pages, most=pages))))
        raise UserError(
            f"cluster.{key}: {workers} workers cannot divide the batch of stages.{stage} ({pages} pages at once); "
            f"choose from {possible}"
        )
    return workers


def _stack_weights(config: Config) -> Literal["balanced"] | dict[str, float] | None:
    """`data.class_weights` by class id, since the stack knows no names: those are in the manifest of the shards."""
    given = config.data.class_weights
    folder = config.paths.shard_set("train", HOLISTIC)
    if not isinstance(given, dict) or not (folder / MANIFEST).exists():
        return given if isinstance(given, str) else None
    corrections = None if config.data.corrections is None else kept_corrections(config.paths.run)
    manifest = ShardSet.open(folder, corrections=corrections).manifest
    ids = manifest.class_ids
    weights = weight_of_each(given, ids, manifest.class_names, [manifest.histogram[class_id] for class_id in ids])
    return {str(class_id): weight for class_id, weight in zip(ids, weights, strict=True)}


def _stack_spec(config: Config, recipe: Recipe, unfinished: Collection[str]) -> JobSpec:
    folder = str(job_folder(config.paths.run, STACK))
    excluded = config.paths.exclude_ids_file
    stack = {**to_mapping(config.stack), "exclude_ids_file": None if excluded is None else str(excluded)}
    return JobSpec(
        name=STACK,
        target="trainer.stack.job:run",
        workers=1,
        gpu=False,  # it fits a small model on stored outputs, on the CPU
        work=0.0,
        payload={
            "run": str(config.paths.run),
            "members": list(recipe.members),
            "fold_jobs": {name: list(jobs) for name, jobs in recipe.fold_jobs.items()},
            "config": stack,
            "seed": config.seed,
            "class_weights": _stack_weights(config),
            "event_files": config.tracking.tensorboard,
        },
        depends_on=tuple(name for name in recipe.stacked_jobs if name in unfinished),
        logs=folder,
        heartbeats=folder,
        reuse_workers=config.cluster.reuse_workers,
    )
