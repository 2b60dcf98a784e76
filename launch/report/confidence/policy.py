"""The policy that a report uses: the run's own, or the same with thresholds for another precision."""

from collections.abc import Mapping
from pathlib import Path

from data_tools.errors import UserError
from launch.report.confidence.figures import confidence_figures
from launch.report.confidence.schema import ConfidenceFigures
from trainer.scoring.decision import Policy, calibrate, policy_file, read_policy
from trainer.scoring.predictions import Predictions
from trainer.stack.policy import with_precision


def run_policy(run: Path, *, precision: float | None = None) -> tuple[Policy | None, list[str]]:
    """The run's policy, with thresholds for `precision` if given, and a line if its file is damaged.

    Raises:
        UserError: `precision` is given, and the run has no policy or lacks what thresholds are chosen from.
    """
    try:
        policy = read_policy(run)
    except UserError as error:
        if precision is not None:
            raise
        return None, [str(error)]
    if precision is None:
        return policy, []
    if policy is None:
        raise UserError(f"{policy_file(run)}: no such file; thresholds need a stack that this version has fitted")
    return with_precision(run, policy, precision), []


def confidence_of(
    run: Path, test: Mapping[str, Predictions], *, precision: float | None
) -> tuple[ConfidenceFigures | None, list[str]]:
    """The figures of the run's policy on its stored test outputs by model, and a line for each damaged file.

    Raises:
        UserError: see `run_policy`.
    """
    policy, problems = run_policy(run, precision=precision)
    if policy is None:
        return None, problems
    try:
        return confidence_figures(policy, test), problems
    except UserError as error:
        return None, [*problems, str(error)]


def calibrated(policy: Policy | None, tables: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Stored outputs by model, at the temperatures of the policy; unchanged without one."""
    if policy is None:
        return dict(tables)
    softmax = calibrate(policy, {name: rows.softmax for name, rows in tables.items()})
    return {name: Predictions(rows.ids, rows.labels, softmax[name], rows.class_ids) for name, rows in tables.items()}
