"""One training step: forward, backward, average over ranks, update; everything stays on the device."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config import OptimizerConfig, TrainingConfig
from trainer.freezing import freeze
from trainer.model import Classifier, moving_statistics
from trainer.world import World

SUMS = ("loss", "correct", "pages")
"""What `TrainStep.sums` adds up over the steps of an epoch, on this rank."""


def build_optimizer(config: OptimizerConfig, *, precision: str = "float32") -> Any:
    """The Keras optimiser; `mixed_float16` adds dynamic loss scaling, without which small gradients vanish."""
    import keras

    decay = config.weight_decay or None
    if config.name == "sgd":
        optimizer: Any = keras.optimizers.SGD(
            config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=decay,
            global_clipnorm=config.clip_norm,
        )
    else:
        optimizer = keras.optimizers.Adam(config.learning_rate, weight_decay=decay, global_clipnorm=config.clip_norm)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


@dataclass
class TrainStep:
    """The compiled step of one job on one rank.

    Call it with images uint8 [batch, height, width, channels] and labels int32 [batch]. Gradients are averages
    over ranks, and so are the statistics that BatchNorm moves, so that all ranks hold the same variables after
    every step. Where the averaged gradients are not finite no variable changes and `first_bad` keeps the number
    of the first such call (from 1, since construction); all ranks see the same gradients, so they agree on it
    without a word. Under `mixed_float16` such steps are the loss scaling's business and are not counted.
    frozen: names of layers (`trainer.freezing`) that are not trained; the optimiser knows the variables of all others.
    """

    classifier: Classifier
    optimizer: Any
    world: World
    training: TrainingConfig
    frozen: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        import tensorflow as tf

        freeze(self.classifier, self.frozen)
        self.optimizer.build(self.classifier.model.trainable_variables)
        self.sums = tf.Variable(tf.zeros([len(SUMS)], tf.float64), trainable=False, name="sums")
        self.calls = tf.Variable(0, dtype=tf.int64, trainable=False, name="calls")
        self.first_bad = tf.Variable(0, dtype=tf.int64, trainable=False, name="first_bad")
        self._compile()

    def _compile(self) -> None:
        import tensorflow as tf

        self.variables = self.classifier.model.trainable_variables
        self.statistics = moving_statistics(self.classifier)
        self._compiled = tf.function(self._step, autograph=False)

    def train_all_but(self, frozen: frozenset[str]) -> None:
        """Freeze the layers of these names, those of the construction among them, and no others, from now on."""
        if frozen != self.frozen:
            self.frozen = frozen
            freeze(self.classifier, frozen)
            self._compile()

    def __call__(self, images: Any, labels: Any) -> None:
        self._compiled(images, labels)

    def _loss(self, logits: Any, labels: Any) -> Any:
        import tensorflow as tf

        smoothing, classes = self.training.label_smoothing, logits.shape[-1]
        if not smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    def _step(self, images: Any, labels: Any) -> None:
        import tensorflow as tf

        variables = self.variables
        before = [tf.identity(v.value) for v in self.statistics]
        with tf.GradientTape() as plain:
            logits = self.classifier.logits(images, training=True)
            losses = self._loss(logits, labels)
            loss = tf.reduce_mean(losses)
            scaled = self.optimizer.scale_loss(loss)
        tape = self.world.gradient_tape(
            plain, compression=self.training.compression, deterministic=self.training.deterministic
        )
        gradients = tape.gradient(scaled, [v.value for v in variables])
        moved = self._average_statistics(gradients)
        finite = self._update(gradients, variables)
        for variable, old, new in zip(self.statistics, before, moved, strict=True):
            variable.assign(tf.where(finite, new, old))
        predicted = tf.argmax(logits, axis=-1, output_type=labels.dtype)
        correct = tf.reduce_sum(tf.cast(predicted == labels, tf.float64))
        pages = tf.cast(tf.shape(labels)[0], tf.float64)
        self.sums.assign_add(tf.stack([tf.reduce_sum(tf.cast(losses, tf.float64)), correct, pages]))

    def _average_statistics(self, gradients: list[Any]) -> list[Any]:
        """What BatchNorm moved, averaged over ranks; in deterministic mode only after the gradients.

        Side by side they may or may not share a buffer, as it happens, and with it the order in which a ring of
        three or more ranks adds up changes.
        """
        import tensorflow as tf

        with tf.control_dependencies(gradients if self.training.deterministic else []):
            return self.world.average([tf.identity(v.value) for v in self.statistics], name="statistics")

    def _update(self, gradients: list[Any], variables: list[Any]) -> Any:
        """Apply the gradients where their norm is finite; whether it was, as a scalar bool tensor."""
        import tensorflow as tf

        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        if self.training.precision == "mixed_float16":
            # The loss scaling optimiser skips such a step by itself and halves its scale.
            self.optimizer.apply(gradients, variables)
            return finite

        def apply() -> Any:
            self.optimizer.apply(gradients, variables)
            return tf.constant(0, tf.int64)

        self.calls.assign_add(1)
        first = tf.where(self.first_bad > 0, self.first_bad, self.calls)
        bad = tf.cond(finite, apply, lambda: first)
        self.first_bad.assign(tf.maximum(self.first_bad, bad))
        return finite

    def reset_optimizer(self) -> None:
        """Forget moments and the count of updates, as an optimiser that is new: all but the learning rate is zero."""
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        for variable in inner.variables:
            if variable is not inner.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def set_learning_rate(self, rate: float) -> None:
        """Rate of the steps that follow."""
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        inner.learning_rate.assign(rate)

    def read_sums(self) -> np.ndarray:
        """float64 [3]: sums of this rank since the last reset, in the order of `SUMS`."""
        return np.asarray(self.sums.numpy())

    def write_sums(self, values: np.ndarray) -> None:
        """Set the sums: zeros at the start of an epoch, saved ones on resuming."""
        self.sums.assign(values)
