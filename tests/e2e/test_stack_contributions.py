"""The contribution of each member: a copy of another one adds nothing, the only good one much."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.stacked_run import MEMBERS, make_run, stack
from trainer.scoring.predictions import read_predictions


@pytest.mark.parametrize("method", ["weighted", "logistic"])
def test_the_stack_without_each_member(method: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, members={"good": 4.0, "weak": 0.3, "weaker": 0.1}, val=200)
    result = stack(run, members=("good", "weak", "weaker"), config={"method": method})
    found = result["contributions"]
    assert list(found) == ["good", "weak", "weaker"]
    assert found["good"]["difference"] > 0.2
    assert found["good"]["difference_interval"][0] > 0.1
    assert found["good"]["p_mid"] < 0.001
    for one in found.values():
        low, high = one["difference_interval"]
        assert low <= one["difference"] <= high
        assert one["difference"] == pytest.approx(result["test_accuracy"] - one["accuracy_without"])
        assert one["pages"] == 400
    assert abs(found["weaker"]["difference"]) < 0.05


def test_without_a_member_of_two_an_average_is_the_other_one(tmp_path: Path) -> None:
    first, second = list(MEMBERS)[:2]
    run = make_run(tmp_path)
    result = stack(run, members=(first, second), config={"method": "average"})
    rows = read_predictions(run / "jobs" / second / "predictions" / "test.npz")
    right = np.mean(rows.softmax.argmax(axis=1) == rows.labels)
    assert result["contributions"][first]["accuracy_without"] == pytest.approx(right)


def test_a_stack_of_one_member_has_none(tmp_path: Path) -> None:
    first = next(iter(MEMBERS))
    assert stack(make_run(tmp_path), members=(first,), config={"method": "average"})["contributions"] == {}
