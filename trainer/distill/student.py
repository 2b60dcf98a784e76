"""What a trained student is measured by: its policy, and its accuracy beside the models that it stands in for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import STACK, JobConfig
from trainer.job_folder.journal import PREDICTIONS, job_folder
from trainer.scoring.decision import Policy, read_policy, write_policy
from trainer.scoring.metrics import (
    accuracy,
    correct,
    expected_calibration_error,
    negative_log_likelihood,
    paired_test,
)
from trainer.scoring.predictions import Predictions, join, read_predictions
from trainer.scoring.schema import CalibratedFigures, StudentComparison, StudentFigures
from trainer.scoring.temperature import at_temperature, fit_temperature
from trainer.stack.fit import load_stack
from trainer.stack.pages import StackPayload, baseline_of
from trainer.stack.policy import Promises, policy_of
from trainer.training.split import selection_mask


def holistic_member(run: Path) -> str:
    """The member of a finished run's stack that the stack is tested against: the last one of the whole page."""
    members = load_stack(job_folder(run, STACK)).members
    return baseline_of(StackPayload(run=str(run), members=members))


def measure_student(run: Path, config: JobConfig) -> StudentFigures:
    """Fit and write the policy of the student `config.name`, whose predictions are there; its figures on test pages.

    Raises:
        UserError: predictions of the student, the stack or its whole-page member are missing or damaged.
    """
    val, test = (_predictions(run, config.name, split) for split in ("val", "test"))
    policy = fit_student_policy(run, config, val)
    write_policy(run, policy)
    return student_figures(run, config, test, policy=policy)


def fit_student_policy(run: Path, config: JobConfig, val: Predictions) -> Policy:
    """The policy of one model, from its outputs for the validation pages that did not select its best epoch.

    Without `stack.leak_free` all of them did. No cross-fit is needed: the student was not fitted on any. It
    promises what the run's policy does.
    """
    if config.selection_share is not None:
        val = val.rows(~selection_mask(val.ids.tolist(), share=config.selection_share, seed=config.seed))
    temperature = fit_temperature(val.labels, val.softmax)
    earlier = read_policy(run)
    wanted = Promises() if earlier is None else Promises(earlier.precision, earlier.threshold_per, earlier.false_alarms)
    policy = policy_of(
        {config.name: at_temperature(val.softmax, temperature).astype(np.float32)},
        val.labels,
        class_ids=val.class_ids,
        temperatures={config.name: temperature},
        promises=wanted,
        model=config.name,
    )
    return replace(policy, faintest=None if earlier is None else earlier.faintest)


def student_figures(run: Path, config: JobConfig, test: Predictions, *, policy: Policy) -> StudentFigures:
    """The student's accuracy on the test pages beside that of the stack and of its whole-page member.

    Raises:
        UserError: their predictions are missing, damaged or of other pages.
    """
    if config.distill is None:
        raise ValueError(f"{config.name} has no teacher")
    holistic = holistic_member(run)
    pages = join([(config.name, test), *((name, _predictions(run, name, "test")) for name in (holistic, STACK))])
    own, whole, stack = (accuracy(pages.labels, pages.softmax[:, column]) for column in range(3))
    return {
        "holistic": holistic,
        "temperature": config.distill.temperature,
        "alpha": config.distill.alpha,
        "pages": config.distill.pages,
        "unlabelled": config.distill.unlabelled,
        "calibrated": _calibrated(policy.temperatures[config.name], test),
        "accuracies": {config.name: own, holistic: whole, STACK: stack},
        "kept": kept_share(own, holistic=whole, stack=stack),
        "paired": [
            _paired(pages.labels, pages.softmax[:, 0], pages.softmax[:, column], against=name, seed=config.seed)
            for column, name in enumerate((holistic, STACK), start=1)
        ],
    }


def kept_share(student: float, *, holistic: float, stack: float) -> float | None:
    """The share of the stack's gain over the whole-page model that the student keeps; None: the stack gains nothing."""
    return (student - holistic) / (stack - holistic) if stack > holistic else None


def _predictions(run: Path, job: str, split: str) -> Predictions:
    return read_predictions(job_folder(run, job) / PREDICTIONS / f"{split}.npz")


def _calibrated(temperature: float, test: Predictions) -> CalibratedFigures:
    softmax = at_temperature(test.softmax, temperature).astype(np.float32)
    return {
        "temperature": temperature,
        "loss": negative_log_likelihood(test.labels, softmax),
        "calibration_error": expected_calibration_error(test.labels, softmax),
    }


def _paired(labels: Any, student: Any, other: Any, *, against: str, seed: int) -> StudentComparison:
    test = paired_test(correct(labels, student), correct(labels, other), seed=seed)
    return {
        "against": against,
        "pages": len(labels),
        "only_student_right": test.only_first,
        "only_other_right": test.only_second,
        "difference": test.difference,
        "difference_interval": list(test.difference_interval),
        "p_exact": test.p_exact,
        "p_mid": test.p_mid,
    }
