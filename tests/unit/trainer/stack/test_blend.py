"""Averages and logistic regression: closed forms, optimality, and behavior with few pages."""

import numpy as np
import pytest

from trainer.scoring.temperature import softmax
from trainer.stack import blend

OUTPUTS = np.array([[[0.8, 0.2], [0.4, 0.6]], [[0.1, 0.9], [0.5, 0.5]]])


def some_pages(count: int, *, skill: tuple[float, ...], classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Outputs float[n, members, C] and labels int[n] of members with the given skills."""
    generator = np.random.default_rng(11)
    labels = generator.integers(0, classes, count)
    logits = [s * np.eye(classes)[labels] + generator.normal(size=(count, classes)) for s in skill]
    return softmax(np.stack(logits, axis=1)), labels


def test_average_by_hand() -> None:
    assert blend.average(OUTPUTS) == pytest.approx(np.array([[0.6, 0.4], [0.3, 0.7]]))


def test_weighted_by_hand() -> None:
    logits = np.array([[2 * 0.8 + 0.4, 2 * 0.2 + 0.6], [2 * 0.1 + 0.5, 2 * 0.9 + 0.5]])
    assert blend.weighted(OUTPUTS, np.array([2.0, 1.0])) == pytest.approx(softmax(logits))


def test_the_kernel_of_the_member_weights_is_the_weighted_blend() -> None:
    weights = np.array([2.0, 1.0])
    kernel = blend.as_kernel(weights, 2)
    flat = OUTPUTS.reshape(2, 4)
    assert blend.logistic(flat, kernel, np.zeros(2)) == pytest.approx(blend.weighted(OUTPUTS, weights))


def test_the_minimum_of_a_badly_scaled_bowl() -> None:
    scales, centre = np.array([1.0, 30.0, 900.0]), np.array([1.0, -2.0, 3.0])

    def bowl(x: np.ndarray) -> tuple[float, np.ndarray]:
        away = x - centre
        return float(0.5 * scales @ away**2), scales * away

    assert blend.minimum(bowl, np.zeros(3)) == pytest.approx(centre, abs=1e-5)


def test_an_uninformative_member_gets_little_weight() -> None:
    outputs, labels = some_pages(400, skill=(3.0, 0.0))
    good, useless = blend.fit_member_weights(outputs, labels)
    assert good > 3
    assert abs(useless) < 0.2 * good


def test_few_pages_leave_the_members_nearly_equal() -> None:
    outputs, labels = some_pages(2, skill=(3.0, 3.0, 3.0))
    weights = blend.fit_member_weights(outputs, labels)
    assert weights.sum() == pytest.approx(blend.TYPICAL_SCALE, rel=0.7)
    assert (weights > 0).all()


def test_logistic_regression_is_at_its_minimum() -> None:
    outputs, labels = some_pages(200, skill=(2.0, 1.0))
    flat, start, l2 = outputs.reshape(200, -1), np.zeros((8, 4)), 0.7
    kernel, bias = blend.fit_logistic(flat, labels, start=start, l2=l2)
    residual = blend.logistic(flat, kernel, bias)
    residual[np.arange(200), labels] -= 1
    assert flat.T @ residual + l2 * kernel == pytest.approx(np.zeros((8, 4)), abs=2e-3)
    assert residual.sum(axis=0) + l2 * bias == pytest.approx(np.zeros(4), abs=2e-3)


def test_strong_regularization_keeps_the_regression_at_its_start() -> None:
    outputs, labels = some_pages(50, skill=(2.0, 1.0))
    start = blend.as_kernel(np.array([4.0, 2.0]), 4)
    kernel, bias = blend.fit_logistic(outputs.reshape(50, -1), labels, start=start, l2=1e6)
    assert kernel == pytest.approx(start, abs=1e-3)
    assert bias == pytest.approx(np.zeros(4), abs=1e-3)


def test_a_class_without_a_page_can_still_be_predicted() -> None:
    outputs, labels = some_pages(60, skill=(4.0, 4.0))
    seen = labels != 3
    start = blend.as_kernel(blend.fit_member_weights(outputs[seen], labels[seen]), 4)
    flat = outputs.reshape(60, -1)
    kernel, bias = blend.fit_logistic(flat[seen], labels[seen], start=start, l2=3.0)
    assert (blend.logistic(flat[~seen], kernel, bias).argmax(axis=1) == 3).mean() > 0.7


def test_pages_count_by_their_weights() -> None:
    outputs, labels = some_pages(200, skill=(2.0, 1.0))
    flat, start, l2 = outputs.reshape(200, -1), np.zeros((8, 4)), 0.7
    page_weights = np.array([3.0, 0.5, 0.25, 0.25])[labels]
    kernel, bias = blend.fit_logistic(flat, labels, start=start, l2=l2, page_weights=page_weights)
    residual = blend.logistic(flat, kernel, bias)
    residual[np.arange(200), labels] -= 1
    residual *= page_weights[:, None]
    assert flat.T @ residual + l2 * kernel == pytest.approx(np.zeros((8, 4)), abs=2e-3)
    assert residual.sum(axis=0) + l2 * bias == pytest.approx(np.zeros(4), abs=2e-3)
    twice = np.tile(np.arange(100), 2)
    plain = blend.fit_member_weights(outputs[twice], labels[twice])
    alone = blend.fit_member_weights(outputs, labels, np.repeat([2.0, 0.0], 100))
    assert alone == pytest.approx(plain, rel=1e-4)


def test_log_ratios_are_log_probabilities_shifted_above_zero() -> None:
    ratios = blend.log_ratios(np.array([0.0, blend.EPSILON, 1.0]))
    assert ratios == pytest.approx([0.0, np.log(2), np.log((1 + blend.EPSILON) / blend.EPSILON)])


def test_members_of_equal_weight_are_a_geometric_mean() -> None:
    pooled = blend.weighted(blend.log_ratios(OUTPUTS), np.array([0.5, 0.5]))
    geometric = np.sqrt(OUTPUTS.prod(axis=1))
    assert pooled == pytest.approx(geometric / geometric.sum(axis=1, keepdims=True), abs=1e-3)


@pytest.mark.parametrize(("pages", "confused", "l2"), [(5, False, 1000.0), (60, True, 10.0)])
def test_the_strength_follows_what_the_pages_show(pages: int, confused: bool, l2: float) -> None:
    """A member that swaps two classes is repaired by a weak pull; without that, the pull stays as strong as it can."""
    classes = 4
    labels = np.tile(np.arange(classes), pages)
    seen = np.where(labels < 2, 1 - labels, labels) if confused else labels
    logits = 3.0 * np.eye(classes)[seen] + np.random.default_rng(1).normal(size=(len(labels), classes))
    flat = blend.log_ratios(softmax(logits))
    start = blend.as_kernel(blend.fit_member_weights(flat[:, None], labels, scale=blend.LOG_SCALE), classes)
    chosen = blend.choose_l2(flat, labels, folds=np.arange(len(labels)) // classes % 3, start=start)
    assert chosen >= l2 if not confused else chosen <= l2


def test_a_single_page_keeps_the_start() -> None:
    chosen = blend.choose_l2(np.ones((1, 4)), np.array([0]), folds=np.array([0]), start=np.zeros((4, 2)))
    assert chosen == max(blend.STRENGTHS)
