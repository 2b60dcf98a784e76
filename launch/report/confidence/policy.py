"""The policy that a report uses: the run's own, or the same with thresholds for another precision."""

from collections.abc import Mapping
from pathlib import Path

from data_tools.errors import UserError
from launch.report.confidence.figures import confidence_figures
from launch.report.confidence.schema import ConfidenceFigures
from launch.report.shard_pages import find_shard_set
from launch.run.record import RunRecord
from trainer.config import STACK
from trainer.scoring.contrast import contrast_file, in_order, read_contrasts
from trainer.scoring.decision import Policy, calibrate, policy_file, read_policy
from trainer.scoring.predictions import Predictions
from trainer.stack.policy import with_precision

NO_CONTRAST = (
    "Blank test pages are judged like all others here, and not as predict does: an earlier version made this run, and "
    "its test shards are not readable."
)


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
    record: RunRecord, test: Mapping[str, Predictions], *, precision: float | None
) -> tuple[ConfidenceFigures | None, list[str]]:
    """The figures of the run's policy on its stored test outputs by model, and a line for each damaged file.

    Raises:
        UserError: see `run_policy`.
    """
    policy, problems = run_policy(record.folder, precision=precision)
    if policy is None:
        return None, problems
    try:
        contrasts = contrasts_of_test(record) if policy.faintest is not None and STACK in test else {}
        if policy.faintest is not None and STACK in test and in_order(contrasts, test[STACK].ids.tolist()) is None:
            problems = [*problems, NO_CONTRAST]
        return confidence_figures(policy, test, contrasts=contrasts), problems
    except UserError as error:
        return None, [*problems, str(error)]


def contrasts_of_test(record: RunRecord) -> dict[str, float]:
    """The contrast of the run's test pages by page id, as its stack kept it, or from shards that are readable here.

    Raises:
        UserError: the run's file is corrupt.
    """
    kept = read_contrasts(contrast_file(record.folder, "test"))
    folder = None if kept else find_shard_set(record)
    if folder is None:
        return kept
    from data_tools.shards.reader import ShardSet
    from trainer.stack.contrast import contrasts_of

    try:
        return contrasts_of(ShardSet.open(folder))
    except (UserError, OSError):
        return {}


def calibrated(policy: Policy | None, tables: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Stored outputs by model, at the temperatures of the policy; unchanged without one."""
    if policy is None:
        return dict(tables)
    softmax = calibrate(policy, {name: rows.softmax for name, rows in tables.items()})
    return {name: Predictions(rows.ids, rows.labels, softmax[name], rows.class_ids) for name, rows in tables.items()}
