"""Outputs of a run for pages that its models were not trained on, as its jobs have recorded them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.config import STACK
from trainer.job_folder.journal import PREDICTIONS, job_folder
from trainer.scoring.decision import Policy, calibrate
from trainer.scoring.predictions import Joined, Predictions, join, read_predictions
from trainer.stack.config import StackConfig
from trainer.stack.fit import FittedStack
from trainer.stack.out_of_fold import TRAIN
from trainer.stack.pages import MemberOutputs
from trainer.stack.policy import CROSS_FITTED, cross_fitted

VAL, TEST = "val", "test"


@dataclass(frozen=True, eq=False)
class PageOutputs:
    """Outputs for the pages of one split, sorted by page id.

    ids: str [n]; labels: class indices int [n]; probabilities: float32 [n, C] by model; scored_by: the model that
    judges the labels; source: `predictions`, `folds` or `features`, see `launch.labels.ranking.SplitSummary`.
    """

    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.integer]
    probabilities: dict[str, npt.NDArray[np.float32]]
    scored_by: str
    source: str


def has_folds(run: Path, members: tuple[str, ...]) -> bool:
    """Whether every member of the run has outputs for the training pages that it, or its fold's model, has not seen."""
    return all(_file(run, name, TRAIN).is_file() for name in members)


def recorded_outputs(
    run: Path, split: str, *, stack: FittedStack, config: StackConfig, policy: Policy | None, seed: int
) -> PageOutputs:
    """Calibrated outputs of the members and the stack for validation, test or, out of fold, training pages.

    The stack has learned from the labels of the pages that it is fitted on; for these, its outputs are those of its
    cross-fit. Members have not learned from validation labels, but may have selected their best epochs with them.

    Raises:
        UserError: the outputs of a job are missing or corrupt, or do not fit the others'.
    """
    members = [(name, read_predictions(_file(run, name, split))) for name in stack.members]
    pages = join(members)
    softmax = {name: pages.softmax[:, column] for column, name in enumerate(pages.names)}
    if split == TRAIN:
        softmax[STACK] = _cross_fitted(pages, replace(config, logistic_l2=stack.logistic_l2), seed=seed)
    else:
        softmax[STACK] = _of_stack(run, split, pages)
    probabilities = softmax if policy is None else calibrate(policy, softmax)
    return PageOutputs(pages.ids, pages.labels, probabilities, STACK, "folds" if split == TRAIN else "predictions")


def fold_outputs(run: Path, member: str) -> PageOutputs:
    """The outputs of one member of a run with folds for its training pages.

    Raises:
        UserError: they are missing or corrupt.
    """
    rows = read_predictions(_file(run, member, TRAIN))
    return PageOutputs(rows.ids, rows.labels, {member: rows.softmax}, member, "folds")


def _of_stack(run: Path, split: str, pages: Joined) -> npt.NDArray[np.float32]:
    """The stack's recorded outputs for `pages`; of validation pages those of its cross-fit, where there are such."""
    members = Predictions(pages.ids, pages.labels, pages.softmax[:, 0], pages.class_ids)
    # Joined with a member, so that a page that only one of them has is an error.
    joined = join([(STACK, read_predictions(_file(run, STACK, split))), (pages.names[0], members)])
    found = joined.softmax[:, 0].copy()
    path = job_folder(run, STACK) / PREDICTIONS / CROSS_FITTED
    if split == VAL and path.exists():
        held_out = read_predictions(path)
        _, ours, theirs = np.intersect1d(joined.ids, held_out.ids, return_indices=True)
        found[ours] = held_out.softmax[theirs]
    return found


def _cross_fitted(pages: Joined, config: StackConfig, *, seed: int) -> npt.NDArray[np.float32]:
    """The outputs of the stack's method for all `pages`, each fitted without the page's fold."""
    every = np.ones(len(pages.ids), np.bool_)
    outputs = MemberOutputs(pages, every, pages, None, pages.names[0])
    return np.asarray(cross_fitted(outputs, config, seed=seed).predictions.softmax, np.float32)


def _file(run: Path, job: str, split: str) -> Path:
    return job_folder(run, job) / PREDICTIONS / f"{split}.npz"
