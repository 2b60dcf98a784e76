"""Gradients of one worker's share of the global batch: at once or in micro-batches, optionally compiled by XLA."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.config import TrainingConfig
from trainer.network.classifier import Classifier
from trainer.soft_targets.config import Distillation
from trainer.soft_targets.loss import SoftTargets, student_losses


class MixedLabels(NamedTuple):
    """The other half of the labels of mixed pages.

    labels: int32 [b], classes of the pages that they are mixed with; shares: float32 [b], share of the page itself;
    soft: of a student, the fields of `SoftTargets` of the pages that they are mixed with.
    """

    labels: Any
    shares: Any
    soft: tuple[Any, ...] = ()


class LocalResult(NamedTuple):
    """Result of one worker's share of b pages, before any communication.

    gradients: of the mean loss, weighted by class, times the loss scale, one float32 tensor per trainable variable;
    losses: float32 [b], without weights;
    correct: float32 [b], share of the most probable class in the page's label: 1 or 0 unless pages are mixed.
    """

    gradients: list[Any]
    losses: Any
    correct: Any


class LocalGradients:
    """Forward and backward pass, to be called inside a `tf.function`.

    With `micro_batches` k > 1 the share is computed in k equal parts, one after the other, in the memory of one part;
    the mean of their gradients is the gradient of the share. BatchNorm sees one part at a time: it normalizes each
    by the part's own moments and moves its statistics once per part.

    class_weights: the weight of each class in the loss; None: 1. distill: of a student, whose loss also depends on
    soft targets; class weights then apply to its cross-entropy with the labels alone.
    """

    def __init__(
        self,
        classifier: Classifier,
        optimizer: Any,
        training: TrainingConfig,
        *,
        micro_batches: int = 1,
        class_weights: Sequence[float] | None = None,
        distill: Distillation | None = None,
    ) -> None:
        import tensorflow as tf

        self._classifier = classifier
        self._optimizer = optimizer
        self._smoothing = training.label_smoothing
        self._parts = micro_batches
        self._distill = distill
        self._weights = None if class_weights is None else np.array(class_weights, np.float32)
        # XLA cannot compile collectives: Horovod's operations for XLA need a header that TensorFlow no longer ships.
        # So it compiles the two passes; averaging and update stay outside.
        compiled = tf.function(self._part, autograph=False, jit_compile=True)
        self._one = compiled if training.jit_compile else self._part

    def __call__(self, images: Any, labels: Any, *soft: Any, mix: MixedLabels | None = None) -> LocalResult:
        """images: uint8 [b, height, width, channels]; labels: int32 [b]; b is a multiple of `micro_batches`.

        soft: of a student, the fields of `SoftTargets`. mix: of the pages that `images` are mixed with, if they are.
        """
        if self._parts == 1:
            return LocalResult(*self._one(images, labels, *soft, mix=mix))
        return self._in_parts(images, labels, *soft, mix=mix)

    def _in_parts(self, images: Any, labels: Any, *soft: Any, mix: MixedLabels | None) -> LocalResult:
        import tensorflow as tf

        parts = self._parts
        images = tf.reshape(images, tf.concat([[parts, -1], tf.shape(images)[1:]], axis=0))
        labels = tf.reshape(labels, [parts, -1])
        others = tf.nest.map_structure(
            lambda x: tf.reshape(x, tf.concat([[parts, -1], tf.shape(x)[1:]], axis=0)), (soft, mix or ())
        )
        images.set_shape([parts, None, *self._classifier.model.input_shape[1:]])
        variables = self._classifier.model.trainable_variables
        # A TensorArray, since a tensor that grows from part to part has no fixed shape.
        arrays = [tf.TensorArray(tf.float32, parts) for _ in range(2)]

        def body(part: Any, sums: list[Any], losses: Any, correct: Any) -> tuple[Any, list[Any], Any, Any]:
            own, mixed = tf.nest.map_structure(lambda x: x[part], others)
            one = LocalResult(*self._one(images[part], labels[part], *own, mix=mixed or None))
            sums = [total + gradient for total, gradient in zip(sums, one.gradients, strict=True)]
            return part + 1, sums, losses.write(part, one.losses), correct.write(part, one.correct)

        start = (tf.constant(0), [tf.zeros(v.shape, tf.float32) for v in variables], *arrays)
        _, sums, losses, correct = tf.while_loop(
            lambda part, *_: part < parts, body, start, parallel_iterations=1, maximum_iterations=parts
        )
        return LocalResult([total / parts for total in sums], losses.concat(), correct.concat())

    def _part(self, images: Any, labels: Any, *soft: Any, mix: MixedLabels | None = None) -> tuple[list[Any], Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self._classifier.logits(images, training=True)
            losses, weighted = self._losses(logits, labels, soft)
            if mix is not None:
                # A mixed page counts as two pages in its shares, each with the weight of its own class.
                other, other_weighted = self._losses(logits, mix.labels, mix.soft)
                losses = _mixed(mix.shares, losses, other)
                weighted = _mixed(mix.shares, weighted, other_weighted)
            scaled = self._optimizer.scale_loss(tf.reduce_mean(weighted))
        variables = self._classifier.model.trainable_variables
        gradients = tape.gradient(scaled, [v.value for v in variables])
        guess = tf.argmax(logits, axis=-1, output_type=labels.dtype)
        correct = tf.cast(guess == labels, tf.float32)
        if mix is not None:
            correct = _mixed(mix.shares, correct, tf.cast(guess == mix.labels, tf.float32))
        return gradients, losses, correct

    def _losses(self, logits: Any, labels: Any, soft: tuple[Any, ...]) -> tuple[Any, Any]:
        """The losses float32 [b] of pages with these labels, without and with the weights of their classes."""
        hard = self._cross_entropy(logits, labels)
        return self._with_teacher(logits, hard, soft), self._with_teacher(logits, self._weighted(hard, labels), soft)

    def _with_teacher(self, logits: Any, hard: Any, soft: tuple[Any, ...]) -> Any:
        """The losses of a student; those of any other job are `hard`, its cross-entropy."""
        return hard if self._distill is None else student_losses(logits, hard, SoftTargets(*soft), self._distill)

    def _weighted(self, losses: Any, labels: Any) -> Any:
        """The losses times the weights of their classes, to be divided by the number of pages, not by the weights'
        sum: so parts of a batch, on this worker or on others, average to the whole."""
        import tensorflow as tf

        return losses if self._weights is None else losses * tf.gather(tf.constant(self._weights), labels)

    def _cross_entropy(self, logits: Any, labels: Any) -> Any:
        import tensorflow as tf

        smoothing, classes = self._smoothing, logits.shape[-1]
        if not smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def _mixed(shares: Any, own: Any, other: Any) -> Any:
    """`own` and `other`, float32 [b], in the shares of mixed pages."""
    return shares * own + (1.0 - shares) * other
