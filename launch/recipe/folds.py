"""Out-of-fold training as a plan: every job of the recipe once for each fold, on the pages of the other folds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainer.config import Fold, JobConfig


def fold_job(name: str, number: int) -> str:
    """Name of the job that trains the model of job `name` without fold `number`, from 1."""
    return f"{name}_fold{number}"


def with_folds(jobs: Sequence[JobConfig], folds: int, *, keep: bool, grouped: bool = False) -> list[JobConfig]:
    """`jobs`, each followed by one job for each fold; without the jobs themselves unless `keep`.

    A fold's job starts from the job of the same fold, so no page that it holds out has touched its weights: any other
    job of the recipe was trained on that page. Only `weights_file`, which no page of the run has touched, is shared.
    grouped: see `Fold`.
    """
    planned: list[JobConfig] = []
    for job in jobs:
        planned += [job] if keep else []
        planned += [
            _without_fold(job, Fold(number=number, of=folds, grouped=grouped)) for number in range(1, folds + 1)
        ]
    return planned


def _without_fold(job: JobConfig, fold: Fold) -> JobConfig:
    start = None if job.start_job is None else fold_job(job.start_job, fold.number)
    return replace(job, name=fold_job(job.name, fold.number), start_job=start, fold=fold)


def fold_jobs_of(members: Sequence[str], folds: int | None) -> Mapping[str, tuple[str, ...]]:
    """Names of the fold jobs of each of `members`, in the order of the folds; empty without folds."""
    if folds is None:
        return {}
    return {name: tuple(fold_job(name, number) for number in range(1, folds + 1)) for name in members}
