"""Class weights: a pure function of the setting and the training pages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.documents.data_set import read_data_set
from data_tools.errors import UserError
from data_tools.labels.classes.weights import weight_of_each
from tests.helpers.synthetic_pages import data_config, made_data

IDS, NAMES = (3, 7, 20), ("memo", "form", "letter")


@pytest.mark.parametrize(
    ("setting", "counts", "weights"),
    [
        ("balanced", (10, 10, 10), [1, 1, 1]),
        ("balanced", (60, 30, 10), [100 / 180, 100 / 90, 100 / 30]),
        ("balanced", (60, 0, 40), [100 / 120, 1, 100 / 80]),  # A class without pages changes nothing.
        ({"memo": 3.0}, (10, 10, 10), [9 / 5, 3 / 5, 3 / 5]),
        ({3: 3.0, "letter": 2.0}, (10, 10, 10), [3 / 2, 1 / 2, 2 / 2]),
        ({"7": 2.0}, (10, 20, 10), [2 / 3, 4 / 3, 2 / 3]),
    ],
)
def test_weights(setting: Any, counts: tuple[int, ...], weights: list[float]) -> None:
    assert weight_of_each(setting, IDS, NAMES, counts) == pytest.approx(weights)


@given(
    counts=st.lists(st.integers(1, 1000), min_size=3, max_size=3),
    own=st.none() | st.lists(st.floats(0.01, 100), min_size=3, max_size=3),
)
def test_their_mean_over_the_pages_is_one(counts: list[int], own: list[float] | None) -> None:
    setting: Any = "balanced" if own is None else dict(zip(NAMES, own, strict=True))
    weights = weight_of_each(setting, IDS, NAMES, counts)
    assert np.dot(weights, counts) / sum(counts) == pytest.approx(1)
    if own is None:
        assert np.multiply(weights, counts) == pytest.approx([sum(counts) / 3] * 3)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"memos": 2.0}, r"no class memos; the classes: 3 \(memo\), 7 \(form\)"),
        ({"memo": 2.0, 3: 1.0}, "memo and 3 are one class"),
    ],
)
def test_weights_without_a_class(setting: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        weight_of_each(setting, IDS, NAMES, (1, 1, 1))


def test_a_name_that_is_the_id_of_another_class() -> None:
    with pytest.raises(UserError, match="7 is the name of one class and the id of another"):
        weight_of_each({"7": 2.0}, (3, 7), ("7", "3"), (1, 1))


@pytest.mark.parametrize("weights", [{}, {"memo": 0.0}, {"memo": -1.0}, {"memo": float("nan")}, {3: float("inf")}])
def test_bad_weights(tmp_path: Path, weights: Any) -> None:
    with pytest.raises(UserError, match=r"^class_weights"):
        data_config(tmp_path, class_weights=weights)


def test_an_unknown_class_is_reported_before_a_conversion(tmp_path: Path) -> None:
    made_data(tmp_path)
    assert read_data_set(data_config(tmp_path, class_weights={7: 2.0}), seed=1).class_ids == (3, 7, 20)
    with pytest.raises(UserError, match=r"data\.class_weights: no class 8"):
        read_data_set(data_config(tmp_path, class_weights={8: 2.0}), seed=1)
