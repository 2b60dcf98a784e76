"""Confident learning on small tables worked out by hand, and on planted errors."""

import numpy as np
import pytest

from trainer.labels.confident import (
    NONE,
    class_thresholds,
    confident_classes,
    label_noise,
    ranking_order,
    suspicion,
)

PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],  # right
        [0.7, 0.2, 0.1],  # right
        [0.1, 0.8, 0.1],  # of class 1 for sure, labelled 0
        [0.2, 0.6, 0.2],  # right
        [0.0, 1.0, 0.0],  # right
        [0.4, 0.3, 0.3],  # labelled 1, of no class for sure
    ]
)
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_thresholds_are_mean_self_confidences() -> None:
    found = class_thresholds(PROBABILITIES, LABELS)
    assert found == pytest.approx([(0.9 + 0.7 + 0.1) / 3, (0.6 + 1.0 + 0.3) / 3, np.inf])


def test_confident_classes() -> None:
    thresholds = class_thresholds(PROBABILITIES, LABELS)
    assert confident_classes(PROBABILITIES, thresholds).tolist() == [0, 0, 1, NONE, 1, NONE]


def test_two_classes_above_their_thresholds() -> None:
    found = confident_classes(np.array([[0.4, 0.55]]), np.array([0.3, 0.5]))
    assert found.tolist() == [1]


def test_the_joint_keeps_the_pages_of_each_label() -> None:
    noise = label_noise(PROBABILITIES, LABELS)
    assert noise.joint == pytest.approx(np.array([[2, 1, 0], [0, 3, 0], [0, 0, 0]]))
    assert noise.share == pytest.approx(1 / 6)
    assert noise.interval[0] <= noise.share <= noise.interval[1]
    assert noise.suspects.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("pages", [0, 1])
def test_few_pages(pages: int) -> None:
    noise = label_noise(PROBABILITIES[:pages], LABELS[:pages])
    assert noise.joint.sum() == pages
    assert noise.share == 0
    assert noise.suspects.shape == (pages,)


def test_suspicion_and_order() -> None:
    assert suspicion(PROBABILITIES, LABELS) == pytest.approx([0.1, 0.3, 0.9, 0.4, 0.0, 0.7])
    ids = np.array(["b", "a", "c"])
    assert ranking_order(np.array([0.5, 0.5, 0.9]), ids).tolist() == [2, 1, 0]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_planted_errors_are_counted_and_found(share: float) -> None:
    generator = np.random.default_rng(3)
    true = generator.integers(0, 5, 4000)
    logits = generator.normal(0, 1, (4000, 5)) + 5 * np.eye(5)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = generator.random(4000) < share
    labels = np.where(wrong, (true + generator.integers(1, 5, 4000)) % 5, true)
    noise = label_noise(probabilities, labels)
    assert noise.share == pytest.approx(wrong.mean(), abs=0.015)
    assert noise.interval[1] - noise.interval[0] < 0.03
    if share:
        worst = ranking_order(suspicion(probabilities, labels), np.arange(4000).astype(str))[: wrong.sum()]
        assert wrong[worst].mean() > 0.9
        assert noise.suspects[wrong].mean() > 0.7
