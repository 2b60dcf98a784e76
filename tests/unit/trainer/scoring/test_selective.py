"""Risk-coverage curves, errors caught and reliability on cases that can be counted by hand."""

import numpy as np
import pytest

from trainer.scoring.metrics import expected_calibration_error
from trainer.scoring.selective import errors_caught, reliability, risk_coverage


@pytest.mark.parametrize(
    ("confidence", "right", "risk"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0], [0, 0, 0, 1 / 4]),
        ([0.6, 0.7, 0.8, 0.9], [1, 1, 1, 0], [1, 1 / 2, 1 / 3, 1 / 4]),
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0], [1 / 4] * 4),  # no order: the risk is the same at each coverage
        ([0.9, 0.5, 0.5], [1, 0, 1], [0, 1 / 4, 1 / 3]),
        ([0.3], [0], [1]),
    ],
)
def test_risk_at_each_coverage(confidence: list[float], right: list[int], risk: list[float]) -> None:
    curve = risk_coverage(np.array(confidence), np.array(right, np.bool_))
    assert curve.risk == pytest.approx(risk)
    assert curve.coverage == pytest.approx(np.arange(1, len(right) + 1) / len(right))
    assert curve.area == pytest.approx(np.mean(risk))
    assert curve.least_area <= curve.area + 1e-12


def test_the_least_area_is_that_of_the_best_order() -> None:
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, False]))
    assert curve.area == curve.least_area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidences_do_not_depend_on_the_order() -> None:
    generator = np.random.default_rng(1)
    confidence, right = generator.integers(0, 8, 200) / 8, generator.random(200) < 0.8
    order = generator.permutation(200)
    assert risk_coverage(confidence, right).area == pytest.approx(risk_coverage(confidence[order], right[order]).area)


def test_errors_caught_by_share() -> None:
    confidence = np.linspace(1.0, 0.01, 100)
    right = np.ones(100, np.bool_)
    right[[99, 97, 92, 85, 10]] = False
    rows = errors_caught(confidence, right)
    assert [(row.share, row.pages, row.caught) for row in rows] == [
        (0.01, 1, 1),
        (0.05, 5, 2),
        (0.1, 10, 3),
        (0.2, 20, 4),
    ]
    assert all(row.errors == 5 for row in rows)
    assert [row.accuracy for row in rows] == pytest.approx([0.96, 0.97, 0.98, 0.99])


def test_few_pages_and_no_error() -> None:
    (row,) = errors_caught(np.array([0.5, 0.9]), np.array([True, True]), shares=(0.01,))
    assert (row.pages, row.caught, row.errors, row.accuracy) == (1, 0, 0, 1)


def test_the_mean_gap_of_the_reliability_is_the_calibration_error() -> None:
    generator = np.random.default_rng(2)
    softmax = generator.dirichlet(np.ones(4), 500)
    labels = generator.integers(0, 4, 500)
    right = softmax.argmax(axis=1) == labels
    found = reliability(softmax.max(axis=1), right)
    gap = np.nansum(np.abs(found.accuracy - found.confidence) * found.pages) / 500
    assert gap == pytest.approx(expected_calibration_error(labels, softmax))
    assert found.pages.sum() == 500 and len(found.pages) == 15
