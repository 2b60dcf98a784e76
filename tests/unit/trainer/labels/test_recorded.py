"""Recorded outputs: which pages they are for, and that the stack did not learn from their labels."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from tests.unit.launch.run_folder import RunSpec, build
from trainer.labels.recorded import fold_outputs, has_folds, recorded_outputs
from trainer.scoring.decision import read_policy
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions
from trainer.stack.config import StackConfig
from trainer.stack.fit import FittedStack
from trainer.stack.mlp import Mlp

MEMBERS = ("holistic_256", "top")
CONFIG = StackConfig(method="weighted")


def stack_of(classes: int) -> FittedStack:
    nothing = np.zeros((0, 0), np.float32)
    size = len(MEMBERS) * classes
    return FittedStack(
        MEMBERS, np.arange(classes), "weighted", np.ones(2), np.zeros((size, classes)), np.zeros(classes),
        Mlp(nothing, nothing, nothing, nothing),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return build(tmp_path / "run", RunSpec(classes=4, pages=60))


def file(run: Path, job: str, split: str) -> Path:
    return run / "jobs" / job / "predictions" / f"{split}.npz"


def test_test_pages_are_those_of_the_stack_calibrated(run: Path) -> None:
    policy = read_policy(run)
    found = recorded_outputs(run, "test", stack=stack_of(4), config=CONFIG, policy=policy, seed=1)
    plain = recorded_outputs(run, "test", stack=stack_of(4), config=CONFIG, policy=None, seed=1)
    rows = read_predictions(file(run, "stack", "test"))
    assert found.ids.tolist() == rows.ids.tolist()
    assert set(found.probabilities) == {*MEMBERS, "stack"}
    assert (found.scored_by, found.source) == ("stack", "predictions")
    assert np.array_equal(plain.probabilities["stack"], rows.softmax)
    assert not np.array_equal(found.probabilities["stack"], rows.softmax)


def test_validation_pages_are_those_of_the_cross_fit(run: Path) -> None:
    rows = read_predictions(file(run, "stack", "val"))
    held_out = Predictions(rows.ids[:5], rows.labels[:5], np.roll(rows.softmax[:5], 1, axis=1), rows.class_ids)
    write_predictions(run / "jobs" / "stack" / "predictions" / "cross_fitted.npz", held_out)
    found = recorded_outputs(run, "val", stack=stack_of(4), config=CONFIG, policy=None, seed=1)
    assert np.array_equal(found.probabilities["stack"][:5], held_out.softmax)
    assert np.array_equal(found.probabilities["stack"][5:], rows.softmax[5:])


def test_training_pages_are_those_of_the_folds(run: Path) -> None:
    assert not has_folds(run, MEMBERS)
    for job in MEMBERS:
        shutil.copy(file(run, job, "test"), file(run, job, "train"))
    assert has_folds(run, MEMBERS)
    before = recorded_outputs(run, "train", stack=stack_of(4), config=CONFIG, policy=None, seed=1)
    assert before.source == "folds"
    for job in MEMBERS:
        rows = read_predictions(file(run, job, "train"))
        labels = rows.labels.copy()
        labels[7] = (labels[7] + 1) % 4
        write_predictions(file(run, job, "train"), Predictions(rows.ids, labels, rows.softmax, rows.class_ids))
    after = recorded_outputs(run, "train", stack=stack_of(4), config=CONFIG, policy=None, seed=1)
    changed = np.flatnonzero(before.labels != after.labels)
    assert changed.tolist() == [7]
    assert fold_outputs(run, "top").probabilities["top"].shape == before.probabilities["stack"].shape


def test_missing_outputs_are_named(run: Path) -> None:
    file(run, "top", "val").unlink()
    with pytest.raises(UserError, match=r"top/predictions/val\.npz"):
        recorded_outputs(run, "val", stack=stack_of(4), config=CONFIG, policy=None, seed=1)
