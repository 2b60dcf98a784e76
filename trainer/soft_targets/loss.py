"""The loss of a student: its divergence from the teacher's probabilities, and its cross-entropy with the labels."""

from typing import Any, NamedTuple

from trainer.soft_targets.config import Distillation

SMALLEST = 1e-12
"""Probabilities below count as this, since a logarithm of zero has no gradient to learn from."""


class SoftTargets(NamedTuple):
    """Of b pages: probabilities float32 [b, C] of the teacher, and labelled float32 [b]: 1, or 0 without a label."""

    probabilities: Any
    labelled: Any


def divergence(logits: Any, probabilities: Any, *, temperature: float) -> Any:
    """T² · KL(p_T ‖ q_T), float32 [b]: p_T is the teacher's softmax(log p / T), q_T the student's softmax(logits / T).

    logits, probabilities: float32 [b, C]. T² keeps the size of the gradients as T changes (Hinton et al. 2015, arXiv
    1503.02531, section 2).
    """
    import tensorflow as tf

    teacher = tf.nn.log_softmax(tf.math.log(tf.maximum(probabilities, SMALLEST)) / temperature)
    student = tf.nn.log_softmax(logits / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)


def student_losses(logits: Any, cross_entropy: Any, targets: SoftTargets, config: Distillation) -> Any:
    """alpha · T² KL + (1 - alpha) · cross-entropy, float32 [b]; a page without a label has the first part alone.

    logits: float32 [b, C]. cross_entropy: float32 [b], with the label where there is one, any finite number elsewhere.
    """
    soft = divergence(logits, targets.probabilities, temperature=config.temperature)
    return config.alpha * soft + (1.0 - config.alpha) * targets.labelled * cross_entropy
