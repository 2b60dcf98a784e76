"""One training step: forward, backward, average over ranks, update; everything stays on the device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config import OptimizerConfig, TrainingConfig
from trainer.network.classifier import Classifier, moving_statistics
from trainer.network.freezing import freeze
from trainer.network.sync_batchnorm import synchronize
from trainer.training.ema import WeightAverages
from trainer.training.gradients import Local, LocalGradients
from trainer.world import World

SUMS = ("loss", "correct", "pages")
"""What `TrainStep.sums` adds up over the steps of an epoch, on this rank."""

HALF = "mixed_float16"
LEAST_LOSS_SCALE = 1.0
"""Gradients that are not finite even at this loss scale do not overflow: they are wrong."""


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
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == HALF else optimizer


def _exclude_from_weight_decay(optimizer: Any, variables: Sequence[Any]) -> None:
    """Exempt biases and BatchNorm's gamma and beta, as Goyal et al. 2017 (arXiv 1706.02677) do; before `build`."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) <= 1])


@dataclass
class TrainStep:
    """The compiled step of one job on one rank.

    Call it with images uint8 [batch, height, width, channels] and labels int32 [batch]. Gradients are averages
    over ranks, and so are the statistics that BatchNorm moves, so that all ranks hold the same variables after
    every step. Clipping and weight decay see the averages.

    Where the mean loss or the averaged gradients are not finite, no variable changes, neither in this step nor in
    any that follows: `first_bad` keeps the number of that call (from 1, since construction) and `bad_losses` the
    losses of its pages. All ranks see the same averages, so they agree on it without a word. Under
    `mixed_float16`, gradients that overflow are the loss scaling's business: the step is left out, the scale is
    halved, and only a loss that is not finite, or gradients that are not at a scale of 1, count as bad.

    frozen: names of layers that are not trained (`trainer.network.freezing`); the optimizer holds the variables of all
        others.
    """

    classifier: Classifier
    optimizer: Any
    world: World
    training: TrainingConfig
    frozen: frozenset[str] = frozenset()
    micro_batches: int = 1
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        import tensorflow as tf

        freeze(self.classifier, self.frozen)
        model = self.classifier.model
        _exclude_from_weight_decay(self.optimizer, model.trainable_variables)
        self.optimizer.build(model.trainable_variables)
        if self.training.synchronized_batch_norm:
            synchronize(self.classifier, self.world)
        self.averages = WeightAverages(model.variables, decay=self.ema_decay) if self.ema_decay is not None else None
        self.sums = tf.Variable(tf.zeros([len(SUMS)], tf.float64), trainable=False, name="sums")
        self.calls = tf.Variable(0, dtype=tf.int64, trainable=False, name="calls")
        self.first_bad = tf.Variable(0, dtype=tf.int64, trainable=False, name="first_bad")
        self.bad_losses = tf.Variable(tf.zeros([0]), shape=[None], trainable=False, name="bad_losses")
        self.compression_overflow = tf.Variable(False, trainable=False, name="compression_overflow")
        self._rate = float("nan")
        self._compile()

    def _compile(self) -> None:
        import tensorflow as tf

        self.variables = self.classifier.model.trainable_variables
        self.statistics = moving_statistics(self.classifier)
        self._local = LocalGradients(self.classifier, self.optimizer, self.training, micro_batches=self.micro_batches)
        self._compiled = tf.function(self._step, autograph=False)

    def train_all_but(self, frozen: frozenset[str]) -> None:
        """Freeze the layers of these names, those of the construction among them, and no others, from now on."""
        if frozen != self.frozen:
            self.frozen = frozen
            freeze(self.classifier, frozen)
            self._compile()

    def __call__(self, images: Any, labels: Any) -> None:
        self._compiled(images, labels)

    def _step(self, images: Any, labels: Any) -> None:
        import tensorflow as tf

        before = [tf.identity(v.value) for v in self.statistics]
        local = self._local(images, labels)
        moved = [tf.identity(v.value) for v in self.statistics]
        gradients, (loss, *moved) = self.world.average_step(
            local.gradients,
            [tf.reduce_mean(local.losses), *moved],
            compression=self.training.compression,
            deterministic=self.training.deterministic,
        )
        applied = self._update(gradients, loss, local)
        for variable, old, new in zip(self.statistics, before, moved, strict=True):
            variable.assign(tf.where(applied, new, old))
        if self.averages is not None:
            tf.cond(applied, _nothing_after(self.averages.update), _nothing)
        correct = tf.reduce_sum(tf.cast(local.hits, tf.float64))
        pages = tf.cast(tf.shape(labels)[0], tf.float64)
        self.sums.assign_add(tf.stack([tf.reduce_sum(tf.cast(local.losses, tf.float64)), correct, pages]))

    def _update(self, gradients: list[Any], loss: Any, local: Local) -> Any:
        """Apply averaged gradients where nothing was wrong so far; whether it was done, as a scalar bool tensor."""
        import tensorflow as tf

        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        wrong = ~finite
        if self.training.precision == HALF:
            wrong = wrong & (self.optimizer.dynamic_scale.value <= LEAST_LOSS_SCALE)
        unharmed = tf.equal(self.first_bad, 0)
        wrong = (wrong | ~tf.math.is_finite(loss)) & unharmed
        self.calls.assign_add(1)

        def remember() -> None:
            self.first_bad.assign(self.calls)
            self.bad_losses.assign(local.losses)
            if self.training.compression == "fp16":
                own = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in local.gradients]
                self.compression_overflow.assign(tf.reduce_all([*own, tf.math.is_finite(loss)]))

        tf.cond(wrong, _nothing_after(remember), _nothing)
        going_on = unharmed & ~wrong
        # The loss scaling optimiser looks for itself, leaves such a step out and halves its scale.
        tf.cond(going_on, _nothing_after(lambda: self.optimizer.apply(gradients, self.variables)), _nothing)
        return going_on & finite

    def _learning_rate(self) -> Any:
        return getattr(self.optimizer, "inner_optimizer", self.optimizer).learning_rate

    def reset_optimizer(self) -> None:
        """Forget moments and the count of updates, as an optimiser that is new: all but the learning rate is zero."""
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        for variable in inner.variables:
            if variable is not inner.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        if self.averages is not None:
            self.averages.restart()

    def set_learning_rate(self, rate: float) -> None:
        """Rate of the steps that follow."""
        if rate != self._rate:
            self._learning_rate().assign(rate)
            self._rate = rate

    def as_evaluated(self, *, keep: bool = False) -> AbstractContextManager[None]:
        """Context in which the model holds the weights that count: their averages, where those are on.

        keep: what is changed in the model there is part of the averages from then on.
        """
        return self.averages.in_place(keep=keep) if self.averages is not None else nullcontext()

    def read_sums(self) -> np.ndarray:
        """float64 [3]: sums of this rank since the last reset, in the order of `SUMS`."""
        return np.asarray(self.sums.numpy())

    def write_sums(self, values: np.ndarray) -> None:
        """Set the sums: zeros at the start of an epoch, saved ones on resuming."""
        self.sums.assign(values)


def _nothing() -> Any:
    import tensorflow as tf

    return tf.constant(0)


def _nothing_after(action: Any) -> Any:
    """`action` as a branch of `tf.cond`, which wants both to return alike."""

    def branch() -> Any:
        action()
        return _nothing()

    return branch
