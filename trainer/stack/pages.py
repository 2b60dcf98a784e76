"""Input of the stack: its payload, and the members' outputs joined by page id."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.labels.classes.weights import weight_of_each
from trainer.job_folder.journal import PREDICTIONS, RESULT, job_folder, read_result
from trainer.scoring.predictions import Joined, join, read_predictions
from trainer.stack.config import StackConfig
from trainer.stack.out_of_fold import TRAIN, write_average, write_out_of_fold
from trainer.training.split import selection_mask


@dataclass(frozen=True, kw_only=True)
class StackPayload:
    """Payload of the stack's worker.

    run: path of the run folder. members: names of the models whose outputs are stacked, in order. class_weights: of the
    fit, `balanced` or by class id as text; None: every page counts alike. fold_jobs: with folds, the jobs of each
    member, in the order of the folds. event_files: see `JobConfig`.
    """

    run: str
    members: tuple[str, ...]
    config: StackConfig = field(default_factory=StackConfig)
    seed: int = 1
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    event_files: bool = True
    fold_jobs: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class MemberOutputs:
    """The members' outputs on all splits.

    fitted_on: bool[val pages], the pages that the stack, or with folds only its policy, is fitted on.
    duplicates_of_train: bool[test pages], the pages that duplicate a training page; None if that is unknown.
    baseline: name of the member that the stack is tested against.
    out_of_fold: with folds, outputs for the training pages, which the stack is fitted on; otherwise None.
    """

    val: Joined
    fitted_on: npt.NDArray[np.bool_]
    test: Joined
    duplicates_of_train: npt.NDArray[np.bool_] | None
    baseline: str
    out_of_fold: Joined | None = None

    @property
    def fitted(self) -> Joined:
        """The pages that the stack is fitted on: all training pages, out of fold, or else validation pages."""
        return self.val.rows(self.fitted_on) if self.out_of_fold is None else self.out_of_fold

    @property
    def unfitted(self) -> Joined:
        """The validation pages that the stack is not fitted on."""
        return self.val.rows(~self.fitted_on) if self.out_of_fold is None else self.val


def read_pages(job: StackPayload) -> MemberOutputs:
    """The members' outputs, joined by page id.

    Raises:
        UserError: the outputs do not fit together, or no page is left to fit on or to score.
    """
    run_folder = Path(job.run)

    def joined(split: str) -> Joined:
        files = ((name, job_folder(run_folder, name) / PREDICTIONS / f"{split}.npz") for name in job.members)
        return join([(name, read_predictions(path)) for name, path in files])

    _write_members(job)
    val, test = joined("val"), joined("test")
    if not np.array_equal(val.class_ids, test.class_ids):
        raise UserError(f"{job.run}: the members' classes differ between val and test; predict both again")
    fitted_on = np.ones(len(val.ids), np.bool_)
    if job.config.leak_free:
        check_selection(job)
        fitted_on = ~selection_mask(val.ids.tolist(), share=job.config.selection_share, seed=job.seed)
    if not fitted_on.any():
        raise UserError(
            f"stack: none of the {len(val.ids)} validation pages is left to fit the stack on; add pages, "
            "lower stack.selection_share or set stack.leak_free to false"
        )
    if not len(test.ids):
        raise UserError("stack: the test set has no page to score the stack on; add pages to it")
    out_of_fold = None
    if job.fold_jobs:
        out_of_fold = joined(TRAIN)
        out_of_fold = replace(out_of_fold, weights=_page_weights(job, out_of_fold, slice(None)))
    val = replace(val, weights=_page_weights(job, val, fitted_on))
    return MemberOutputs(val, fitted_on, test, read_duplicates(job, test), baseline_of(job), out_of_fold)


def _write_members(job: StackPayload) -> None:
    """With folds: write what each member consists of, from the outputs of its jobs."""
    run = Path(job.run)
    for member, jobs in job.fold_jobs.items():
        write_out_of_fold(run, member, jobs)
        if job.config.members == "average":
            write_average(run, member, jobs)


def _page_weights(
    job: StackPayload, pages: Joined, fitted_on: npt.NDArray[np.bool_] | slice
) -> npt.NDArray[np.float64] | None:
    """float64[n]: the weight of each page, by its class; their mean over the pages to fit on is 1."""
    if job.class_weights is None:
        return None
    counts = np.bincount(pages.labels[fitted_on], minlength=len(pages.class_ids)).tolist()
    ids = pages.class_ids.tolist()
    return np.array(weight_of_each(job.class_weights, ids, list(map(str, ids)), counts))[pages.labels]


def check_selection(job: StackPayload) -> None:
    """Check that every member selected its best epoch on pages that neither the stack nor its policy is fitted on.

    Raises:
        UserError: a member's result records another selection share, or none.
    """
    for name in (*job.members, *(name for names in job.fold_jobs.values() for name in names)):
        if _member_result(job, name).get("selection_share") != job.config.selection_share:
            raise UserError(
                f"stack.leak_free: {name} did not select its best epoch on the selection share of the "
                "validation set, so the stack would not be leak-free; train it again with this setting"
            )


def baseline_of(job: StackPayload) -> str:
    """The member that the stack is tested against: the last holistic one, or the first member if there is none."""

    def region(name: str) -> str:
        return str(_member_result(job, name).get("region", name.split("_", 1)[0]))

    holistic = [name for name in job.members if region(name) == HOLISTIC]
    return holistic[-1] if holistic else job.members[0]


def _member_result(job: StackPayload, name: str) -> dict[str, Any]:
    path = job_folder(Path(job.run), name) / RESULT
    return read_result(path.parent) if path.exists() else {}


def read_duplicates(job: StackPayload, test: Joined) -> npt.NDArray[np.bool_] | None:
    """bool[n]: the test pages that `exclude_ids_file` lists; None if it is not set.

    Raises:
        UserError: the file cannot be read, or lists no page of the test set.
    """
    path = job.config.exclude_ids_file
    if path is None:
        return None
    try:
        listed = {line for line in Path(path).read_text(encoding="utf-8").split("\n") if line}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the list of duplicates cannot be read ({error})") from None
    mask = np.array([page_id in listed for page_id in test.ids.tolist()], np.bool_)
    if listed and not mask.any():
        raise UserError(f"{path}: no page of it is in the test set; give the list of this data set")
    return mask
