"""The loss of a student, against SciPy."""

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from data_tools.errors import UserError
from trainer.soft_targets.config import Distillation, DistillConfig
from trainer.soft_targets.loss import SoftTargets, divergence, student_losses

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-4.0, 9.0, 1.0], [30.0, -30.0, 0.0]], np.float32)
TEACHER = np.array([[0.7, 0.1, 0.2], [0.2, 0.5, 0.3], [0.01, 0.98, 0.01], [0.0, 1.0, 0.0]], np.float32)
LABELS = np.array([0, 2, 1, 1])


def reference(temperature: float) -> np.ndarray:
    teacher = softmax(np.log(np.maximum(TEACHER.astype(np.float64), 1e-12)) / temperature, axis=1)
    student = softmax(LOGITS.astype(np.float64) / temperature, axis=1)
    return temperature**2 * rel_entr(teacher, student).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_the_divergence_is_that_of_both_at_the_temperature(temperature: float) -> None:
    found = np.asarray(divergence(LOGITS, TEACHER, temperature=temperature))
    np.testing.assert_allclose(found, reference(temperature), rtol=2e-4, atol=1e-5)


def test_a_student_that_answers_as_its_teacher_has_no_divergence_at_any_temperature() -> None:
    logits = np.log(TEACHER[:3]) + 7.0
    for temperature in (1.0, 3.0):
        np.testing.assert_allclose(divergence(logits, TEACHER[:3], temperature=temperature), 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("alpha", "labelled"),
    [
        (0.0, [1, 1, 1, 1]),  # labels alone
        (1.0, [1, 1, 0, 0]),  # the teacher alone
        (0.7, [1, 0, 1, 0]),  # a page without a label has the teacher's part alone, with its weight
    ],
)
def test_the_loss_mixes_both_and_leaves_out_missing_labels(alpha: float, labelled: list[int]) -> None:
    cross_entropy = -log_softmax(LOGITS.astype(np.float64), axis=1)[np.arange(4), LABELS]
    config = Distillation(temperature=2.0, alpha=alpha, pages=4)
    mask = np.array(labelled, np.float32)
    found = student_losses(LOGITS, cross_entropy.astype(np.float32), SoftTargets(TEACHER, mask), config)
    expected = alpha * reference(2.0) + (1 - alpha) * mask * cross_entropy
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"temperature": 0.0}, "temperature"), ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"), ({"alpha": -0.1}, "alpha"), ({"alpha": 1.1}, "alpha"),
        ({"alpha": float("nan")}, "alpha"), ({"epochs": 0}, "epochs"), ({"learning_rate": 0.0}, "learning_rate"),
    ],
)  # fmt: skip
def test_settings_out_of_their_range_are_refused(setting: dict[str, float], name: str) -> None:
    with pytest.raises(UserError, match=f"^{name}: "):
        DistillConfig(**setting)  # type: ignore[arg-type]
