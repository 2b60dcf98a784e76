"""The run's policy, fitted on outputs of validation pages that the stack was not fitted on: a cross-fit.

The stack is fitted on the validation pages, so its outputs for them are too confident, and thresholds chosen on them
would not hold. The pages are split into folds; the outputs of each are those of a stack that is fitted on the others.
Temperatures and thresholds are fitted on these outputs, and apply to the stack that is fitted on all pages
(`CalibratedClassifierCV(ensemble=False)` of scikit-learn does the same). What remains: without `stack.leak_free`, the
members selected their best epochs on the same pages. A stack that is fitted on training pages, out of fold, needs no
cross-fit: all validation pages are new to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from data_tools.versions import installed
from trainer.config import STACK
from trainer.job_folder.journal import PREDICTIONS, job_folder
from trainer.scoring.decision import FORMAT, Outputs, Policy, judge, unknown_scores
from trainer.scoring.metrics import correct
from trainer.scoring.predictions import Joined, Predictions, join, read_predictions
from trainer.scoring.temperature import at_temperature, fit_temperature
from trainer.scoring.thresholds import RISK, Threshold, alarm_threshold, precision_threshold
from trainer.scoring.unknown import SHIPPED
from trainer.stack.config import StackConfig
from trainer.stack.fit import FittedStack, fit_stack
from trainer.stack.folds import fold_of
from trainer.stack.mlp import MlpTrainer
from trainer.stack.pages import MemberOutputs

CROSS_FITTED = "cross_fitted.npz"
"""Name of the predictions file with the stack's outputs of the cross-fit."""


@dataclass(frozen=True)
class Promises:
    """What thresholds are chosen for, as `Policy` has it; the defaults of the configuration."""

    precision: float = StackConfig.precision
    threshold_per: Literal["run", "class"] = StackConfig.threshold_per
    false_alarms: float = StackConfig.false_alarms


@dataclass(frozen=True, eq=False)
class CrossFit:
    """The stack's outputs for validation pages that it was not fitted on. folds: 0 if there are too few pages, or
    if the stack is fitted on none of them."""

    predictions: Predictions
    folds: int


def cross_fitted(
    pages: MemberOutputs,
    config: StackConfig,
    *,
    seed: int,
    trainer: MlpTrainer | None = None,
    on_fold: Callable[[int], None] = lambda _: None,
) -> CrossFit:
    """Fit the stack's method on all folds but one, for each fold of the pages that it is fitted on.

    A single page cannot be left out; its output is that of the stack fitted on it. trainer: see `fit_stack`.
    on_fold: called after each fold.
    """
    fitted = pages.val.rows(pages.fitted_on)
    fold = fold_of(fitted.ids.tolist(), fitted.labels)
    folds = int(fold.max()) + 1
    trainer = trainer or MlpTrainer(config)
    softmax = np.zeros((len(fitted.ids), len(fitted.class_ids)), np.float32)
    for number in range(folds):
        here = fold == number
        rest = fitted.rows(~here) if folds > 1 else fitted
        stack = fit_stack(rest, config, seed=seed, methods=[config.method], trainer=trainer)
        softmax[here] = stack.probabilities(fitted.softmax[here])
        on_fold(number + 1)
    predictions = Predictions(fitted.ids, fitted.labels, softmax, fitted.class_ids)
    return CrossFit(predictions, folds if folds > 1 else 0)


def unseen(stack: FittedStack, pages: MemberOutputs) -> CrossFit:
    """The outputs of a stack that is fitted on training pages, out of fold: it has not seen any validation page."""
    rows = pages.val.rows(pages.fitted_on)
    return CrossFit(Predictions(rows.ids, rows.labels, stack.probabilities(rows.softmax), rows.class_ids), 0)


def fit_policy(
    pages: MemberOutputs, held_out: CrossFit, config: StackConfig, *, faintest: float | None = None
) -> Policy:
    """Temperatures of all models, thresholds of confidence and of the unknown score.

    faintest: the smallest contrast of a validation page, None if unknown.
    """
    fitted = pages.val.rows(pages.fitted_on)
    outputs = _by_model(fitted, held_out.predictions)
    # With class weights, confidence is calibrated for the classes as they are weighted, which is what models and stack
    # learned. Thresholds and alarm are promises about pages as they come, so they count each page once.
    temperatures = {
        name: fit_temperature(fitted.labels, softmax, page_weights=fitted.weights) for name, softmax in outputs.items()
    }
    probabilities = {
        name: at_temperature(softmax, temperatures[name]).astype(np.float32) for name, softmax in outputs.items()
    }
    promises = Promises(config.precision, config.threshold_per, config.false_alarms)
    policy = policy_of(
        probabilities, fitted.labels, class_ids=fitted.class_ids, temperatures=temperatures, promises=promises
    )
    return replace(policy, folds=held_out.folds, faintest=faintest)


def policy_of(
    probabilities: Outputs,
    labels: npt.NDArray[np.integer[Any]],
    *,
    class_ids: npt.NDArray[np.integer[Any]],
    temperatures: dict[str, float],
    promises: Promises,
    model: str = STACK,
) -> Policy:
    """The policy of `model` whose thresholds keep `promises` on pages with these calibrated probabilities.

    probabilities: float32[n, C] by model, of its members and of `model`; alone, it is its own member. Without a
    cross-fit and a faintest page.
    """
    members = tuple(name for name in probabilities if name != model) or (model,)
    scores = unknown_scores(SHIPPED, probabilities, members=members, model=model)
    alarm = alarm_threshold(scores, false_alarms=promises.false_alarms)
    known = scores <= (np.inf if alarm is None else alarm)
    chosen, by_class = thresholds_of(probabilities[model][known], labels[known], precision=promises.precision)
    return Policy(
        format=FORMAT,
        class_ids=tuple(class_ids.tolist()),
        members=members,
        temperatures=temperatures,
        pages=len(labels),
        folds=0,
        precision=promises.precision,
        risk=RISK,
        threshold_per=promises.threshold_per,
        threshold=chosen,
        class_thresholds=by_class,
        unknown_score=SHIPPED,
        unknown_threshold=alarm,
        false_alarms=promises.false_alarms,
        versions=installed("numpy", "scipy"),
        model=model,
    )


def with_precision(run: Path, policy: Policy, precision: float) -> Policy:
    """The policy of a run with thresholds for another precision, from the outputs of its cross-fit.

    Raises:
        UserError: `precision` is not between 0 and 1, or the outputs are missing or do not fit together.
    """
    if not 0 < precision < 1:
        raise UserError(f"precision: must lie between 0 and 1, found {precision}")
    held_out = read_predictions(job_folder(run, STACK) / PREDICTIONS / CROSS_FITTED)
    members = {name: read_predictions(job_folder(run, name) / PREDICTIONS / "val.npz") for name in policy.members}
    here = {name: rows.rows(np.isin(rows.ids, held_out.ids)) for name, rows in members.items()}
    pages = join([*here.items(), (STACK, held_out)])
    judged = judge(policy, {name: pages.softmax[:, column] for column, name in enumerate(pages.names)})
    known = np.array([decision != "unknown" for decision in judged.decisions])
    chosen, by_class = thresholds_of(judged.probabilities[STACK][known], pages.labels[known], precision=precision)
    return replace(policy, precision=precision, threshold=chosen, class_thresholds=by_class)


def _by_model(fitted: Joined, stack: Predictions) -> Outputs:
    """Softmax float32[n, C] by model on the same pages, the stack's last."""
    return {name: fitted.softmax[:, column] for column, name in enumerate(fitted.names)} | {STACK: stack.softmax}


def thresholds_of(
    stack: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]], *, precision: float
) -> tuple[Threshold, tuple[Threshold, ...]]:
    """The run's threshold and that of each predicted class, from calibrated float32[n, C] of the stack."""
    confidence, predicted, right = stack.max(axis=1), stack.argmax(axis=1), correct(labels, stack)

    def of(chosen: npt.NDArray[np.bool_]) -> Threshold:
        return precision_threshold(confidence[chosen], right[chosen], precision=precision)

    every = np.ones(len(labels), np.bool_)
    return of(every), tuple(of(predicted == column) for column in range(stack.shape[1]))
