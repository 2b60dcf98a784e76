"""What the models of the folds make of the pages that they have not seen: the training pages, and their average.

Each fold's job has predicted the training pages that it held out. Together they are every training page once, each by a
model that neither saw the page nor started from weights that did (Wolpert 1992, "Stacked generalization").
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data_tools.config import read_yaml
from data_tools.errors import UserError
from data_tools.files import write_atomically, write_json
from trainer.job_folder.journal import CONFIG, PREDICTIONS, RESULT, job_folder, read_result
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.scoring.predictions import Predictions, join, read_predictions, write_predictions

TRAIN = "train"
"""The split of the pages that a fold's job holds out, and of all folds' outputs together."""

AVERAGED = "models"
"""Key of a member's `result.json` with the names of the jobs whose mean probabilities are the member's."""


def write_out_of_fold(run: Path, member: str, jobs: Sequence[str]) -> None:
    """Write `predictions/train.npz` of `member`: its outputs for all training pages, from the jobs of its folds.

    Raises:
        UserError: a job's outputs are missing, or two jobs predicted the same page or differ in their classes.
    """
    parts = [read_predictions(_file(run, job, TRAIN)) for job in jobs]
    for job, part in zip(jobs, parts, strict=True):
        if not np.array_equal(part.class_ids, parts[0].class_ids):
            raise UserError(f"{job} and {jobs[0]} were trained on different classes; train them again")
    rows = Predictions(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.softmax for part in parts]),
        parts[0].class_ids,
    )
    write_predictions(_file(run, member, TRAIN), rows)


def write_average(run: Path, member: str, jobs: Sequence[str]) -> None:
    """Write the folder of a `member` that is the average of `jobs`: predictions, `config.yaml`, and last its result.

    Raises:
        UserError: a job's outputs are missing, or do not fit the others'.
    """
    folder, figures = job_folder(run, member), {}
    for split in ("val", "test"):
        rows = average_of([(job, read_predictions(_file(run, job, split))) for job in jobs])
        figures[f"{split}_accuracy"] = accuracy(rows.labels, rows.softmax)
        figures[f"{split}_loss"] = negative_log_likelihood(rows.labels, rows.softmax)
        write_predictions(_file(run, member, split), rows)
    config = {**read_yaml(job_folder(run, jobs[0]) / CONFIG), "name": member, "fold": None, "start_job": None}
    write_atomically(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
    results = [read_result(job_folder(run, job)) for job in jobs]
    write_json(folder / RESULT, _result(member, jobs, results) | figures)


def jobs_of_member(run: Path, member: str) -> list[str]:
    """The jobs whose mean probabilities are the member's: itself, unless it is the average of its folds' models.

    Raises:
        UserError: its result is missing or damaged.
    """
    folder = job_folder(run, member)
    if AVERAGED not in read_result(folder):
        return [member]
    return [str(job) for job in read_result(folder, {AVERAGED: list})[AVERAGED]] or [member]


def average_of(models: Sequence[tuple[str, Predictions]]) -> Predictions:
    """The mean probabilities of several models (name, outputs) for the same pages, joined by page id."""
    pages = join(models)
    mean = pages.softmax.mean(axis=1, dtype=np.float64).astype(np.float32)
    return Predictions(pages.ids, pages.labels, mean, pages.class_ids)


def _result(member: str, jobs: Sequence[str], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`trainer.scoring.schema.AveragedResult`: of all models together where they add up, otherwise of the first."""
    digests = "".join(str(result["weights_digest"]) for result in results)
    return {
        "job": member,
        AVERAGED: list(jobs),
        "weights_digest": hashlib.sha256(digests.encode()).hexdigest(),
        "parameters": sum(result["parameters"] for result in results),
        "seconds": sum(result["seconds"] for result in results),
        "ended": max(result["ended"] for result in results),
        "train_seconds": sum(result["train_seconds"] for result in results),
        **{key: results[0][key] for key in ("region", "stage", "world_size", "epochs", "selection_share", "versions")},
    }


def _file(run: Path, job: str, split: str) -> Path:
    return job_folder(run, job) / PREDICTIONS / f"{split}.npz"
