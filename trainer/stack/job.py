"""The stack's job: joins the members' outputs by page id, fits on validation or out-of-fold outputs, scores on test."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from data_tools.config import from_mapping, to_mapping
from data_tools.files import sha256, write_atomically, write_json
from data_tools.versions import installed
from trainer.config import STACK
from trainer.device import prepare_small_fit
from trainer.job_folder.attempt_count import attempts_before
from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.journal import CONFIG, PREDICTIONS, RESULT, Journal, job_folder, log_to, read_result
from trainer.scoring.contrast import contrast_file, write_contrasts
from trainer.scoring.decision import Policy, write_policy
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.scoring.predictions import Joined, Predictions, write_predictions
from trainer.scoring.schema import EpochRow, OutOfFoldUse, ValidationUse
from trainer.stack.config import StackConfig
from trainer.stack.contrast import faintest_page, page_contrasts
from trainer.stack.contributions import contributions
from trainer.stack.fit import WEIGHTS, FittedStack, fit_stack, save_stack
from trainer.stack.mlp import MlpTrainer
from trainer.stack.pages import MemberOutputs, StackPayload, read_pages
from trainer.stack.policy import CROSS_FITTED, CrossFit, cross_fitted, fit_policy, unseen
from trainer.stack.scores import all_scores
from trainer.tracking.charts import Charts

logger = logging.getLogger(__name__)


def run(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Fit and score the stack, or read the result if it is finished; returns `StackResult`, as in `result.json`.

    payload: `StackPayload` as plain data. Test pages are not used before everything is fitted.

    Raises:
        UserError: a member's outputs are missing or do not fit the other members'.
    """
    job = from_mapping(StackPayload, payload, where="payload")
    folder = job_folder(Path(job.run), STACK)
    if (folder / RESULT).exists():
        return read_result(folder)
    with log_to(folder, rank=0), Heartbeat(folder, rank=0) as heartbeat:
        result = _run(job, folder, heartbeat)
        heartbeat.at("done")
        return result


def _run(job: StackPayload, folder: Path, heartbeat: Heartbeat) -> dict[str, Any]:
    prepare_small_fit(seed=job.seed)
    began = time.time()
    attempt = heartbeat.attempt = attempts_before(folder) + 1
    journal = Journal(folder, rank=0, fixed={"job": STACK, "world_size": 1}, heartbeat=heartbeat)
    journal.progress("starting")
    journal.rewrite([])
    write_atomically(folder / CONFIG, yaml.safe_dump(to_mapping(job), sort_keys=False))
    pages = read_pages(job)
    logger.info("stack of %s: %d pages to fit, %d test pages", ", ".join(job.members),
                len(pages.fitted.ids), len(pages.test.ids))  # fmt: skip
    charts = Charts(folder, on=job.event_files)
    reporter = EpochReporter(job.config, pages, journal, heartbeat, charts)
    trainer = MlpTrainer(job.config)
    stack = fit_stack(pages.fitted, job.config, seed=job.seed, on_epoch=reporter.report, trainer=trainer)
    save_stack(folder, stack)
    figures = _predict(folder, stack, pages)
    charts.test(reporter.position(job.config.epochs)["step"], figures)
    held_out = _held_out(job, stack, pages, heartbeat, trainer)
    write_predictions(folder / PREDICTIONS / CROSS_FITTED, held_out.predictions)
    policy = _decide(job, pages, held_out, heartbeat)
    result = {
        "job": STACK, "region": STACK, "stage": STACK, "world_size": 1, "epochs": job.config.epochs,
        "best_epoch": job.config.epochs, "best_checkpoint": WEIGHTS, **figures,
        "parameters": stack.parameters, "weights_digest": sha256(folder / WEIGHTS),
        "start": {"kind": "fresh", "from": None, "digest": None},
        "members": list(job.members), "method": job.config.method,
        "member_weights": dict(zip(job.members, stack.member_weights.tolist(), strict=True)),
        "leak_free": validation_use(job, pages), "out_of_fold": out_of_fold_use(job, pages),
        **all_scores(stack, pages, policy, seed=job.seed),
        "contributions": contributions(stack, pages, job.config, seed=job.seed,
                                       on_member=lambda k: heartbeat.at("evaluating", batch=k)),
        "seconds": time.time() - began, "started": began, "ended": time.time(), "attempt": attempt,
        "versions": installed("tensorflow", "keras", "numpy"),
    }  # fmt: skip
    write_json(folder / RESULT, result)
    journal.progress("done", **reporter.position(job.config.epochs))
    return result


def _decide(job: StackPayload, pages: MemberOutputs, held_out: CrossFit, heartbeat: Heartbeat) -> Policy:
    """Fit and write the policy, and the contrast of the test pages, which decisions about them need."""
    run = Path(job.run)
    policy = fit_policy(pages, held_out, job.config, faintest=faintest_page(run, job.members))
    contrasts = page_contrasts(run, job.members, "test", on_pages=lambda n: heartbeat.at("evaluating", batch=n))
    if contrasts:
        write_contrasts(contrast_file(run, "test"), contrasts)
    write_policy(run, policy)
    return policy


def _held_out(
    job: StackPayload, stack: FittedStack, pages: MemberOutputs, heartbeat: Heartbeat, trainer: MlpTrainer
) -> CrossFit:
    """The stack's outputs for validation pages that it was not fitted on: its own, or those of a cross-fit."""
    if pages.out_of_fold is not None:
        return unseen(stack, pages)
    config = replace(job.config, logistic_l2=stack.logistic_l2)  # chosen once
    return cross_fitted(
        pages, config, seed=job.seed, trainer=trainer, on_fold=lambda k: heartbeat.at("evaluating", batch=k)
    )


def out_of_fold_use(job: StackPayload, pages: MemberOutputs) -> OutOfFoldUse | None:
    """How the folds served the stack, for the result and the report; None without folds."""
    if pages.out_of_fold is None:
        return None
    rows = pages.out_of_fold
    right = {name: accuracy(rows.labels, rows.softmax[:, column]) for column, name in enumerate(rows.names)}
    return {
        "folds": job.config.folds or 0,
        "members": job.config.members,
        "fitted_on": len(rows.ids),
        "calibrated_on": int(pages.fitted_on.sum()),
        "accuracy": right,
    }


def validation_use(job: StackPayload, pages: MemberOutputs) -> ValidationUse:
    """How many validation pages served which purpose, for the result and the report."""
    fitted, count = int(pages.fitted_on.sum()), len(pages.val.ids)
    return {
        "on": job.config.leak_free,
        "selection_share": job.config.selection_share if job.config.leak_free else None,
        "validation_pages": count,
        "selected_on": count - fitted if job.config.leak_free else count,
        "fitted_on": fitted,
    }


def _predict(folder: Path, stack: FittedStack, pages: MemberOutputs) -> dict[str, float]:
    """Write the stack's outputs for val and test; loss and accuracy on both."""
    figures: dict[str, float] = {}
    for split, joined in (("val", pages.val), ("test", pages.test)):
        softmax = stack.probabilities(joined.softmax)
        figures[f"{split}_accuracy"] = accuracy(joined.labels, softmax)
        figures[f"{split}_loss"] = negative_log_likelihood(joined.labels, softmax)
        predictions = Predictions(joined.ids, joined.labels, softmax, joined.class_ids)
        write_predictions(folder / PREDICTIONS / f"{split}.npz", predictions)
    return figures


class EpochReporter:
    """Writes each epoch of the MLP to the journal.

    `train_` figures are of the pages that the MLP is fitted on, `val_` figures of the other validation pages, None if
    there are none.
    """

    def __init__(
        self, config: StackConfig, pages: MemberOutputs, journal: Journal, heartbeat: Heartbeat, charts: Charts
    ) -> None:
        self._config = config
        self._journal = journal
        self._heartbeat = heartbeat
        self._charts = charts
        self._fitted, self._held_out = pages.fitted, pages.unfitted
        self._last = time.time()

    def position(self, epoch: int) -> dict[str, int]:
        """Epoch and step counts after `epoch` epochs, as the heartbeat file holds them."""
        each = -(-len(self._fitted.ids) // self._config.batch)
        epochs = self._config.epochs
        return {"epoch": epoch, "epochs": epochs, "step": epoch * each, "steps": epochs * each,
                "steps_per_epoch": each}  # fmt: skip

    def report(self, epoch: int, stack: FittedStack) -> None:
        """Record epoch number `epoch` (from 1); stack: its weights after that epoch."""
        now = time.time()
        seconds, self._last = max(now - self._last, 1e-9), now
        position = self.position(epoch)
        self._heartbeat.at("training", step=position["step"])
        train, val = (_figures(stack, pages) for pages in (self._fitted, self._held_out))
        row: EpochRow = {
            "epoch": epoch, "step": position["step"], "train_loss": train[0], "train_accuracy": train[1],
            "val_loss": val[0], "val_accuracy": val[1], "learning_rate": self._config.learning_rate,
            "seconds": seconds, "pages_per_s": len(self._fitted.ids) / seconds, "time": now,
        }  # fmt: skip
        self._journal.epoch(row)
        self._charts.epoch(row)
        if self._journal.due():
            self._journal.progress("training", **position, loss=train[0], accuracy=train[1])


def _figures(stack: FittedStack, pages: Joined) -> tuple[float | None, float | None]:
    """Loss and accuracy of the MLP on `pages`; None without a page."""
    if not len(pages.ids):
        return None, None
    softmax = stack.probabilities(pages.softmax, method="mlp")
    return negative_log_likelihood(pages.labels, softmax), accuracy(pages.labels, softmax)
