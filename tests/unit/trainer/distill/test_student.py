"""A student's policy and its figures beside the stack, from predictions alone; the teacher's rows by page id."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from tests.helpers.stacked_run import MEMBERS, make_run, stack
from trainer.config import CheckpointConfig, JobConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.distill.student import fit_student_policy, holistic_member, kept_share, measure_student
from trainer.distill.teacher import in_order_of, out_of_fold_outputs
from trainer.scoring.decision import judge, read_policy
from trainer.scoring.metrics import accuracy
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions
from trainer.soft_targets.config import DISTILLED, Distillation
from trainer.stack.fit import load_stack


def student_of(*, share: float | None = None) -> JobConfig:
    return JobConfig(
        name=DISTILLED, stage_name=DISTILLED, region="holistic", shards="shards", seed=1, stage=StageConfig(),
        model=ModelConfig(), training=TrainingConfig(), checkpoint=CheckpointConfig(), selection_share=share,
        distill=Distillation(temperature=2.0, alpha=0.7, pages=10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a fitted stack whose student answers as the stack does."""
    folder = make_run(tmp_path_factory.mktemp("run"), val=200)
    stack(folder, config={"method": "weighted"})
    for split in ("val", "test"):
        rows = read_predictions(folder / "jobs" / "stack" / "predictions" / f"{split}.npz")
        write_predictions(folder / "jobs" / DISTILLED / "predictions" / f"{split}.npz", rows)
    return folder


def test_a_student_that_answers_as_the_stack_keeps_all_of_its_gain(run: Path) -> None:
    figures = measure_student(run, student_of())
    holistic = holistic_member(run)
    assert [row["against"] for row in figures["paired"]] == [holistic, "stack"]
    assert figures["paired"][1]["difference"] == 0
    assert figures["paired"][0]["difference"] == pytest.approx(
        figures["accuracies"]["stack"] - figures["accuracies"][holistic]
    )
    assert figures["kept"] in (pytest.approx(1.0), None)


def test_its_policy_lies_in_its_own_folder_and_decides_from_its_answers_alone(run: Path) -> None:
    before = read_policy(run)
    measure_student(run, student_of())
    policy = read_policy(run, DISTILLED)
    assert policy is not None
    assert (policy.model, policy.members) == (DISTILLED, (DISTILLED,))
    assert read_policy(run) == before, "that of the stack is untouched"
    rows = read_predictions(run / "jobs" / DISTILLED / "predictions" / "test.npz")
    judged = judge(policy, {DISTILLED: rows.softmax})
    assert list(judged.probabilities) == [DISTILLED]
    assert set(judged.decisions) <= {"accepted", "review", "unknown"}
    assert accuracy(rows.labels, judged.probabilities[DISTILLED]) == accuracy(rows.labels, rows.softmax)


def test_pages_that_selected_the_best_epoch_do_not_calibrate(run: Path) -> None:
    val = read_predictions(run / "jobs" / DISTILLED / "predictions" / "val.npz")
    every, rest = (fit_student_policy(run, student_of(share=share), val).pages for share in (None, 0.5))
    assert every == len(val.ids)
    assert 0 < rest < every


@pytest.mark.parametrize(
    ("student", "holistic", "stack", "kept"),
    [
        (0.90, 0.80, 0.90, 1.0), (0.86, 0.80, 0.90, 0.6), (0.80, 0.80, 0.90, 0.0), (0.78, 0.80, 0.90, -0.2),
        (0.95, 0.80, 0.90, 1.5), (0.90, 0.90, 0.90, None), (0.95, 0.90, 0.80, None),
    ],
)  # fmt: skip
def test_the_share_of_the_gain(student: float, holistic: float, stack: float, kept: float | None) -> None:
    found = kept_share(student, holistic=holistic, stack=stack)
    assert found == (None if kept is None else pytest.approx(kept))


def test_rows_are_joined_by_page_id_in_any_order(tmp_path: Path) -> None:
    ids = np.array(["b", "a", "ä", "c"])
    softmax = np.arange(8, dtype=np.float32).reshape(4, 2)
    rows = Predictions(ids, np.zeros(4, np.int32), softmax, np.array([0, 1])).sorted()
    np.testing.assert_array_equal(in_order_of(ids, rows, tmp_path), softmax)
    np.testing.assert_array_equal(in_order_of(ids[[2, 0]], rows, tmp_path), softmax[[2, 0]])
    for missing in ("aa", "", "zz"):
        with pytest.raises(UserError, match=f"page {missing};"):
            in_order_of(np.array(["a", missing]), rows, tmp_path)
    with pytest.raises(UserError, match="and 1 more"):
        in_order_of(ids[:2], rows.rows(np.zeros(4, np.bool_)), tmp_path)


def test_out_of_fold_answers_are_the_stacks_on_the_recorded_outputs(run: Path) -> None:
    outputs = []
    for name in MEMBERS:
        rows = read_predictions(run / "jobs" / name / "predictions" / "val.npz")
        write_predictions(run / "jobs" / name / "predictions" / "train.npz", rows)
        outputs.append(rows.softmax)
    ids = rows.ids[::-1]
    expected = load_stack(run / "jobs" / "stack").probabilities(np.stack(outputs, axis=1))[::-1]
    np.testing.assert_array_equal(out_of_fold_outputs(run, ids), expected)
