"""A policy survives its file, judges each page by itself, and is optional."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from trainer.scoring.decision import Policy, judge, policy_file, read_policy, write_policy
from trainer.scoring.temperature import at_temperature
from trainer.scoring.thresholds import Threshold


def threshold(value: float | None) -> Threshold:
    return Threshold(value=value, pages=100, accepted=0 if value is None else 60, errors=1)


def policy(**changes: Any) -> Policy:
    start = Policy(
        format=1, class_ids=(3, 5), members=("a", "b"), temperatures={"a": 1.0, "b": 2.0, "stack": 0.5}, pages=100,
        folds=5, precision=0.95, risk=0.1, threshold_per="run", threshold=threshold(0.9),
        class_thresholds=(threshold(0.8), threshold(None)), unknown_score="disagreement", unknown_threshold=0.3,
        false_alarms=0.05, versions={"numpy": "2"},
    )  # fmt: skip
    return dataclasses.replace(start, **changes)


OUTPUTS = {
    "a": np.array([[0.9, 0.1], [0.2, 0.8], [0.99, 0.01], [0.6, 0.4]], np.float32),
    "b": np.array([[0.9, 0.1], [0.1, 0.9], [0.001, 0.999], [0.7, 0.3]], np.float32),
    "stack": np.array([[0.8, 0.2], [0.1, 0.9], [0.9, 0.1], [0.7, 0.3]], np.float32),
}
"""Agreed and sure; agreed on class 5; divided; agreed but less sure. At T = 0.5, the stack's 0.8 is 0.94."""


@pytest.mark.parametrize(
    ("changes", "decisions"),
    [
        ({}, ["accepted", "accepted", "unknown", "review"]),
        ({"threshold": threshold(None)}, ["review", "review", "unknown", "review"]),
        ({"unknown_threshold": None}, ["accepted", "accepted", "accepted", "review"]),
        # Class 5 has no certified threshold of its own.
        ({"threshold_per": "class"}, ["accepted", "review", "unknown", "accepted"]),
    ],
)
def test_decisions(changes: dict[str, Any], decisions: list[str]) -> None:
    judged = judge(policy(**changes), OUTPUTS)
    assert judged.decisions == decisions
    assert judged.calibrated


def test_probabilities_are_at_the_temperatures_and_float32() -> None:
    judged = judge(policy(), OUTPUTS)
    for name, temperature in policy().temperatures.items():
        assert judged.probabilities[name].dtype == np.float32
        assert np.array_equal(judged.probabilities[name], at_temperature(OUTPUTS[name], temperature).astype(np.float32))
        assert np.array_equal(judged.probabilities[name].argmax(axis=1), OUTPUTS[name].argmax(axis=1))


def test_a_page_is_judged_the_same_in_any_batch() -> None:
    together = judge(policy(), OUTPUTS)
    assert together.unknown_scores is not None
    for row in range(4):
        alone = judge(policy(), {name: softmax[row : row + 1] for name, softmax in OUTPUTS.items()})
        assert alone.decisions == [together.decisions[row]]
        assert alone.unknown_scores is not None and alone.unknown_scores[0] == together.unknown_scores[row]
        for name in OUTPUTS:
            assert np.array_equal(alone.probabilities[name][0], together.probabilities[name][row])


@pytest.mark.parametrize(
    ("faintest", "contrast", "decisions"),
    [
        (None, [0, 0, 0, 0], ["accepted", "accepted", "unknown", "review"]),
        (4.0, None, ["accepted", "accepted", "unknown", "review"]),
        (4.0, [2.0, 1.99, 50, 0], ["accepted", "unknown", "unknown", "unknown"]),
    ],
)
def test_a_page_without_contrast_is_unknown(
    faintest: float | None, contrast: list[float] | None, decisions: list[str]
) -> None:
    assert judge(policy(faintest=faintest), OUTPUTS, contrast=contrast).decisions == decisions
    assert judge(None, OUTPUTS, contrast=contrast).decisions == [None] * 4


def test_no_page_and_no_policy() -> None:
    assert judge(policy(), {name: softmax[:0] for name, softmax in OUTPUTS.items()}).decisions == []
    judged = judge(None, OUTPUTS)
    assert judged.decisions == [None] * 4
    assert not judged.calibrated and judged.unknown_scores is None
    assert np.array_equal(judged.probabilities["stack"], OUTPUTS["stack"])


def test_a_missing_member_is_named() -> None:
    with pytest.raises(ValueError, match="outputs of b"):
        judge(policy(), {name: softmax for name, softmax in OUTPUTS.items() if name != "b"})


def test_the_file_gives_the_policy_back(tmp_path: Path) -> None:
    assert read_policy(tmp_path) is None
    write_policy(tmp_path, policy())
    assert read_policy(tmp_path) == policy()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": 2}, "format: 2"),
        ({"unknown_score": "magic"}, "unknown_score: 'magic'"),
        ({"class_thresholds": []}, "class_thresholds: 0 for 2 classes"),
        ({"temperatures": {"a": 1.0, "b": 0, "stack": 1.0}}, "temperatures: b"),
        ({"surprise": 1}, "surprise"),
        ({"precision": "high"}, "precision"),
        ({"precision": math.nan}, "precision: nan"),
        ({"unknown_threshold": math.nan}, "unknown_threshold: nan"),
        ({"unknown_threshold": -math.inf}, "unknown_threshold: -inf"),
        ({"faintest": math.nan}, "faintest: nan"),
        ({"temperatures": {"a": 1.0, "b": 2.0, "stack": math.inf}}, "temperatures: stack"),
        ({"temperatures": {"a": math.nan, "b": 2.0, "stack": 1.0}}, "temperatures: a"),
        ({"threshold": {"value": math.nan, "pages": 9, "accepted": 8, "errors": 0}}, "threshold.value: nan"),
        ({"threshold": {"value": 95.0, "pages": 9, "accepted": 8, "errors": 0}}, "threshold.value: 95.0"),
        ({"members": []}, r"members: \[\]"),
        ({"members": ["c", "d"]}, "temperatures: c"),
        ({"class_ids": [3, 3]}, r"class_ids: \[3, 3\]"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    write_policy(tmp_path, policy())
    path = policy_file(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=problem) as caught:
        read_policy(tmp_path)
    assert str(path) in str(caught.value)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write_policy(tmp_path, policy())
    policy_file(tmp_path).write_text('{"format": 1, "cla')
    with pytest.raises(UserError, match=r"calibration\.json"):
        read_policy(tmp_path)


@pytest.mark.parametrize("text", ["null", "[]", "{}"])
def test_a_file_without_a_policy_is_named(tmp_path: Path, text: str) -> None:
    write_policy(tmp_path, policy())
    policy_file(tmp_path).write_text(text)
    with pytest.raises(UserError, match=r"calibration\.json: (expected a JSON object|has no format).*train-all"):
        read_policy(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"class_ids": [5, 3], "threshold_per": "class"}, r"class_ids: \[5, 3\].*\[3, 5\]"),
        ({"class_ids": [3], "class_thresholds": [dataclasses.asdict(threshold(0.8))]}, r"class_ids: \[3\]"),
        ({"members": ["a"]}, r"members: \['a'\].*\['a', 'b'\]"),
        ({"members": ["b", "a"]}, r"members: \['b', 'a'\]"),
        ({"model": "a"}, "model: a"),
    ],
)
def test_the_policy_of_another_stack_is_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    write_policy(tmp_path, policy())
    (tmp_path / "jobs" / "stack" / "stack.json").write_text('{"members": ["a", "b"], "class_ids": [3, 5]}')
    assert read_policy(tmp_path) == policy()
    path = policy_file(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=rf"calibration\.json\.{problem}.*train-all"):
        read_policy(tmp_path)


def test_the_policy_of_a_student_is_of_itself_and_of_the_classes_of_the_stack(tmp_path: Path) -> None:
    own = policy(model="distilled", members=("distilled",), temperatures={"distilled": 1.0})
    write_policy(tmp_path, own)
    stack = tmp_path / "jobs" / "stack" / "stack.json"
    stack.parent.mkdir()
    stack.write_text('{"members": ["a", "b"], "class_ids": [3, 5]}')
    assert read_policy(tmp_path, "distilled") == own
    stack.write_text('{"members": ["a", "b"], "class_ids": [3, 6]}')
    with pytest.raises(UserError, match=r"distilled/calibration\.json\.class_ids.*distill again"):
        read_policy(tmp_path, "distilled")
