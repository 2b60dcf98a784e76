"""The stack on log-probabilities with few validation pages: never worse than its best member by more than noise."""

import numpy as np
import pytest

from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.scoring.predictions import Joined
from trainer.scoring.temperature import softmax
from trainer.stack.config import StackConfig
from trainer.stack.fit import fit_stack

CLASSES = 5
SKILL = (3.2, 1.6, 1.2)
"""A strong member and two weak ones, as a holistic model and its regions."""
CONFIG = StackConfig(method="logistic", input="log", logistic_l2=None)
NOISE = 0.01


def pages_of(count: int, *, seed: int) -> Joined:
    """Overconfident members on `count` pages of each class."""
    labels = np.tile(np.arange(CLASSES), count)
    noise = np.random.default_rng(seed).normal(size=(len(labels), len(SKILL), CLASSES))
    logits = np.array(SKILL)[None, :, None] * np.eye(CLASSES)[labels][:, None, :] + noise
    ids = np.array([f"{seed}/{row:05d}.tif" for row in range(len(labels))])
    outputs = softmax(2.5 * logits).astype(np.float32)
    return Joined(ids, labels.astype(np.int32), outputs, np.arange(CLASSES), ("holistic", "top", "left"))


@pytest.mark.parametrize("count", [2, 5, 10, 50])
def test_it_does_not_lose_to_its_best_member(count: int) -> None:
    test = pages_of(1000, seed=99)
    best = max(accuracy(test.labels, test.softmax[:, member]) for member in range(len(SKILL)))
    accuracies, losses = [], []
    for seed in range(3):
        stack = fit_stack(pages_of(count, seed=seed), CONFIG, seed=1, methods=["logistic"])
        outputs = stack.probabilities(test.softmax)
        accuracies.append(accuracy(test.labels, outputs))
        losses.append(negative_log_likelihood(test.labels, outputs))
    assert min(accuracies) >= best - NOISE
    assert max(losses) < negative_log_likelihood(test.labels, test.softmax[:, 0]), "and is better calibrated"
