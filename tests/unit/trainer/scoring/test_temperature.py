"""Temperature scaling recovers the applied temperature and never changes a prediction."""

import numpy as np
import pytest

from trainer.scoring.metrics import expected_calibration_error, negative_log_likelihood
from trainer.scoring.temperature import COLDEST, HOTTEST, PRIOR_PAGES, at_temperature, fit_temperature, softmax


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
    best = fit_temperature(labels, sharp, prior_pages=0)
    least = negative_log_likelihood(labels, at_temperature(sharp, best))
    for other in (0.9 * best, 1.1 * best, 0.5 * best, 2 * best):
        assert negative_log_likelihood(labels, at_temperature(sharp, other)) > least


def test_without_a_wrong_prediction_it_is_the_lower_bound() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(np.array([0, 1]), probabilities, prior_pages=0) == pytest.approx(COLDEST)


def test_without_a_right_prediction_it_is_the_upper_bound() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(np.array([1, 0]), probabilities, prior_pages=0) == pytest.approx(HOTTEST)


def test_softmax_of_huge_logits_is_finite() -> None:
    assert softmax(np.array([[1e4, 0.0], [-1e4, -1e4]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_a_temperature_of_one_changes_nothing() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9]])
    assert at_temperature(probabilities, 1.0) == pytest.approx(probabilities)


@pytest.mark.parametrize("pages_per_class", [2, 5, 10])
@pytest.mark.parametrize("sharper", [1.0, 2.0])
def test_few_pages_neither_explode_nor_freeze_it(pages_per_class: int, sharper: float) -> None:
    """Five classes, the pages drawn anew 40 times: the loss on other pages hardly suffers, or falls."""
    logits, labels = calibrated(count=4000)
    others = softmax(sharper * logits)
    before = negative_log_likelihood(labels, others)
    temperatures, losses = [], []
    for trial in range(40):
        chosen = np.random.default_rng(trial).choice(len(labels), 5 * pages_per_class, replace=False)
        temperatures.append(fit_temperature(labels[chosen], others[chosen]))
        losses.append(negative_log_likelihood(labels, at_temperature(others, temperatures[-1])))
    assert min(temperatures) > 0.6 and max(temperatures) < 2.5
    assert max(losses) < before + 0.1
    assert np.mean(losses) < (before + 0.015 if sharper == 1 else before - 0.08)


@pytest.mark.parametrize("pages_per_class", [2, 5, 10])
@pytest.mark.parametrize("confidence", [0.4, 0.8, 0.99])
def test_without_an_error_the_prior_limits_it(pages_per_class: int, confidence: float) -> None:
    labels = np.repeat(np.arange(5), pages_per_class)
    right = np.full((len(labels), 5), (1 - confidence) / 4)
    right[np.arange(len(labels)), labels] = confidence
    assert fit_temperature(labels, right, prior_pages=0) == pytest.approx(COLDEST)
    temperature = fit_temperature(labels, right)
    assert 0.2 < temperature < 1
    # Confidence grows with the number of right pages, and never reaches certainty.
    assert temperature > fit_temperature(np.tile(labels, 10), np.tile(right, (10, 1))) > 2 * COLDEST


def test_the_lowest_of_several_minima_is_found() -> None:
    """The sum of likelihood and prior is not convex: compare with a fine grid on inputs of many kinds."""
    for trial in range(30):
        generator = np.random.default_rng(trial)
        probabilities = softmax(
            generator.choice([1, 5, 30]) * generator.normal(size=(int(generator.integers(1, 30)), 4))
        )
        labels = generator.integers(0, 4, len(probabilities))

        def objective(temperature: float, labels: np.ndarray = labels, given: np.ndarray = probabilities) -> float:
            loss = negative_log_likelihood(labels, at_temperature(given, temperature)) * len(labels)
            return loss + PRIOR_PAGES / 2 * np.log(temperature) ** 2

        grid = np.exp(np.linspace(np.log(COLDEST), np.log(HOTTEST), 2000))
        least = min(objective(temperature) for temperature in grid)
        assert objective(fit_temperature(labels, probabilities)) <= least + 1e-6


def test_a_page_of_weight_two_counts_as_two_pages() -> None:
    logits, labels = calibrated(count=200)
    sharp = softmax(3 * logits)
    copies = np.where(labels == 1, 3, 1)
    repeated = fit_temperature(labels.repeat(copies), sharp.repeat(copies, axis=0))
    assert fit_temperature(labels, sharp, page_weights=copies.astype(float)) == pytest.approx(repeated, rel=1e-9)
    assert fit_temperature(labels, sharp, page_weights=np.ones(200)) == fit_temperature(labels, sharp)
    assert repeated != pytest.approx(fit_temperature(labels, sharp), rel=1e-4)
