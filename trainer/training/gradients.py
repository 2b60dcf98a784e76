"""Gradients of one worker's batch: at once or in micro-batches, compiled by XLA where asked."""

from typing import Any, NamedTuple

from trainer.config import TrainingConfig
from trainer.network.classifier import Classifier


class Local(NamedTuple):
    """What one worker's batch of b pages gave, before any rank knows of another.

    gradients: of the mean loss (times the loss scale), one float32 tensor a trainable variable; losses: float32 [b];
    hits: bool [b], whether the likeliest class is the page's.
    """

    gradients: list[Any]
    losses: Any
    hits: Any


class LocalGradients:
    """Forward and backward pass, to be called inside a `tf.function`.

    With `micro_batches` k > 1 the batch is computed in k equal parts, one after the other, which takes the memory
    of one part; the mean of their gradients is the gradient of the whole batch. BatchNorm sees only one part at a
    time: it normalises each by its own moments and moves its statistics once a part.
    """

    def __init__(
        self, classifier: Classifier, optimizer: Any, training: TrainingConfig, *, micro_batches: int = 1
    ) -> None:
        import tensorflow as tf

        self._classifier = classifier
        self._optimizer = optimizer
        self._smoothing = training.label_smoothing
        self._parts = micro_batches
        # Collectives cannot be part of what XLA compiles (Horovod's operations for it need a TensorFlow header that
        # is no longer shipped), so that is the passes alone; averaging and update stay outside.
        compiled = tf.function(self._part, autograph=False, jit_compile=True)
        self._one = compiled if training.jit_compile else self._part

    def __call__(self, images: Any, labels: Any) -> Local:
        """images: uint8 [b, height, width, channels]; labels: int32 [b]; `micro_batches` divides b."""
        if self._parts == 1:
            return Local(*self._one(images, labels))
        return self._in_parts(images, labels)

    def _in_parts(self, images: Any, labels: Any) -> Local:
        import tensorflow as tf

        parts = self._parts
        images = tf.reshape(images, tf.concat([[parts, -1], tf.shape(images)[1:]], axis=0))
        labels = tf.reshape(labels, [parts, -1])
        images.set_shape([parts, None, *self._classifier.model.input_shape[1:]])
        variables = self._classifier.model.trainable_variables
        # Rows of a TensorArray, since tensors that grow from part to part have no fixed shape.
        arrays = [tf.TensorArray(dtype, parts) for dtype in (tf.float32, tf.bool)]

        def body(part: Any, sums: list[Any], losses: Any, hits: Any) -> tuple[Any, list[Any], Any, Any]:
            one = Local(*self._one(images[part], labels[part]))
            sums = [total + gradient for total, gradient in zip(sums, one.gradients, strict=True)]
            return part + 1, sums, losses.write(part, one.losses), hits.write(part, one.hits)

        start = (tf.constant(0), [tf.zeros(v.shape, tf.float32) for v in variables], *arrays)
        _, sums, losses, hits = tf.while_loop(
            lambda part, *_: part < parts, body, start, parallel_iterations=1, maximum_iterations=parts
        )
        return Local([total / parts for total in sums], losses.concat(), hits.concat())

    def _part(self, images: Any, labels: Any) -> tuple[list[Any], Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self._classifier.logits(images, training=True)
            losses = self._losses(logits, labels)
            scaled = self._optimizer.scale_loss(tf.reduce_mean(losses))
        variables = self._classifier.model.trainable_variables
        gradients = tape.gradient(scaled, [v.value for v in variables])
        return gradients, losses, tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels

    def _losses(self, logits: Any, labels: Any) -> Any:
        import tensorflow as tf

        smoothing, classes = self._smoothing, logits.shape[-1]
        if not smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
