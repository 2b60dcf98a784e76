"""Temperature scaling recovers the applied temperature and never changes a prediction."""

import numpy as np
import pytest

from trainer.scoring.metrics import expected_calibration_error, negative_log_likelihood
from trainer.scoring.temperature import COLDEST, HOTTEST, at_temperature, fit_temperature, softmax


def calibrated(count: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels sampled from the softmax of these logits."""
    generator = np.random.default_rng(3)
    logits = 2 * generator.normal(size=(count, classes))
    uniform = generator.random((count, 1))
    labels = (softmax(logits).cumsum(axis=1) < uniform).sum(axis=1).clip(max=classes - 1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_applied_temperature_is_found(temperature: float) -> None:
    logits, labels = calibrated()
    assert fit_temperature(labels, softmax(logits / temperature)) == pytest.approx(1 / temperature, rel=0.03)


def test_overconfidence_is_corrected() -> None:
    logits, labels = calibrated()
    sharp = softmax(4 * logits)
    calibrated_again = at_temperature(sharp, fit_temperature(labels, sharp))
    assert expected_calibration_error(labels, calibrated_again) < 0.02 < expected_calibration_error(labels, sharp)
    assert negative_log_likelihood(labels, calibrated_again) < negative_log_likelihood(labels, sharp)
    assert np.array_equal(calibrated_again.argmax(axis=1), sharp.argmax(axis=1))


def test_no_other_temperature_is_better() -> None:
    logits, labels = calibrated(count=300)
    sharp = softmax(3 * logits)
    best = fit_temperature(labels, sharp)
    least = negative_log_likelihood(labels, at_temperature(sharp, best))
    for other in (0.9 * best, 1.1 * best, 0.5 * best, 2 * best):
        assert negative_log_likelihood(labels, at_temperature(sharp, other)) > least


def test_without_a_wrong_prediction_it_is_the_lower_bound() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(np.array([0, 1]), probabilities) == pytest.approx(COLDEST)


def test_without_a_right_prediction_it_is_the_upper_bound() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(np.array([1, 0]), probabilities) == pytest.approx(HOTTEST)


def test_softmax_of_huge_logits_is_finite() -> None:
    assert softmax(np.array([[1e4, 0.0], [-1e4, -1e4]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_a_temperature_of_one_changes_nothing() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9]])
    assert at_temperature(probabilities, 1.0) == pytest.approx(probabilities)
