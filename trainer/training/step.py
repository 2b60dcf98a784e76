"""One training step: forward, backward, average over ranks, update; everything stays on the device."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config import TrainingConfig
from trainer.device import collector_paused
from trainer.network.classifier import Classifier, moving_statistics
from trainer.network.freezing import freeze
from trainer.network.fused_batchnorm import fuse_batchnorm
from trainer.network.sync_batchnorm import synchronize_batchnorm
from trainer.optimizer.build import HALF, decays
from trainer.optimizer.ema import WeightEma
from trainer.soft_targets.config import Distillation
from trainer.training.gradients import LocalGradients, LocalResult, MixedLabels
from trainer.world import World

logger = logging.getLogger(__name__)

SUMS = ("loss", "correct", "pages")
"""What `TrainStep.sums` adds up over the steps of an epoch, on this rank.

A mixed page counts as correct by the share of the predicted class in its label.
"""

MIN_LOSS_SCALE = 1.0
"""Gradients that are not finite at this loss scale are an error and no overflow."""


@dataclass
class TrainStep:
    """The compiled step of one job on one rank.

    Call it with images uint8 [b, height, width, channels] and labels int32 [b], this rank's share of the global
    batch, and with the labels of the pages that the images are mixed with, if they are. Gradients and the statistics
    that BatchNorm moves are averaged over ranks, so all ranks hold the same variables after every step. Clipping and
    weight decay act on the averages.

    From a step whose mean loss or averaged gradients are not finite, no variable changes any more:
    `first_nonfinite_step` (int64) holds the number of that call, from 1 since construction,
    `nonfinite_losses` (float32 [b]) the losses of its pages, and `compression_overflow` (bool) whether loss and
    gradients of this rank are finite and only their compression is not. All ranks see the same averages, so they
    agree without communication. Under `mixed_float16` an overflow of gradients is normal: the optimizer skips the
    step and halves the loss scale; only a non-finite loss, or gradients at a loss scale of 1, count as non-finite.

    frozen: names of the frozen layers; micro_batches: see `LocalGradients`; ema_decay: see `WeightEma`, None: no EMA.
    class_weights: weight of each class in the loss, in the order of the outputs, None: 1. `sums` and
    `nonfinite_losses` hold losses without weights. distill: of a student; its calls also take the fields of
    `SoftTargets` of this rank's pages.
    """

    classifier: Classifier
    optimizer: Any
    world: World
    training: TrainingConfig
    frozen: frozenset[str] = frozenset()
    micro_batches: int = 1
    ema_decay: float | None = None
    class_weights: Sequence[float] | None = None
    distill: Distillation | None = None

    def __post_init__(self) -> None:
        import tensorflow as tf

        freeze(self.classifier, self.frozen)
        model = self.classifier.model
        exempt = [v for v in model.trainable_variables if not decays(v)]
        self._inner_optimizer.exclude_from_weight_decay(var_list=exempt)  # before the optimizer is built
        self.optimizer.build(model.trainable_variables)
        if self.training.synchronized_batch_norm:
            synchronize_batchnorm(self.classifier, self.world)
            if self.training.fused_batch_norm and self.world.rank == 0:
                logger.info("BatchNorm is not fused, since training.synchronized_batch_norm is true")
        elif self.training.fused_batch_norm:
            fuse_batchnorm(self.classifier)
        self.ema = WeightEma(model.variables, decay=self.ema_decay) if self.ema_decay is not None else None
        self.sums = tf.Variable(tf.zeros([len(SUMS)], tf.float64), trainable=False, name="sums")
        self.calls = tf.Variable(0, dtype=tf.int64, trainable=False, name="calls")
        self.first_nonfinite_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="first_nonfinite_step")
        self.nonfinite_losses = tf.Variable(tf.zeros([0]), shape=[None], trainable=False, name="nonfinite_losses")
        self.compression_overflow = tf.Variable(False, trainable=False, name="compression_overflow")
        self._rate = float("nan")
        self._compile()

    def _compile(self) -> None:
        import tensorflow as tf

        self.variables = self.classifier.model.trainable_variables
        self.statistics = moving_statistics(self.classifier)
        self._local = LocalGradients(
            self.classifier,
            self.optimizer,
            self.training,
            micro_batches=self.micro_batches,
            class_weights=self.class_weights,
            distill=self.distill,
        )
        self._compiled = tf.function(self._step, autograph=False)
        self._traced = False

    def set_frozen(self, frozen: frozenset[str]) -> None:
        """Freeze the layers of these names and no others; those frozen at construction must be among them."""
        if frozen != self.frozen:
            self.frozen = frozen
            freeze(self.classifier, frozen)
            self._compile()

    def __call__(self, images: Any, labels: Any, *soft: Any, mix: MixedLabels | None = None) -> None:
        with nullcontext() if self._traced else collector_paused():
            self._compiled(images, labels, *soft, mix=mix)
        self._traced = True

    def _step(self, images: Any, labels: Any, *soft: Any, mix: MixedLabels | None = None) -> None:
        import tensorflow as tf

        before = [tf.identity(v.value) for v in self.statistics]
        local = self._local(images, labels, *soft, mix=mix)
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
        if self.ema is not None:
            _run_if(applied, self.ema.update)
        correct = tf.reduce_sum(tf.cast(local.correct, tf.float64))
        pages = tf.cast(tf.shape(labels)[0], tf.float64)
        self.sums.assign_add(tf.stack([tf.reduce_sum(tf.cast(local.losses, tf.float64)), correct, pages]))

    def _update(self, gradients: list[Any], loss: Any, local: LocalResult) -> Any:
        """Apply averaged gradients unless a step was not finite; whether they were applied, bool []."""
        import tensorflow as tf

        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        failed = ~finite
        if self.training.precision == HALF:
            failed = failed & (self.optimizer.dynamic_scale.value <= MIN_LOSS_SCALE)
        healthy = tf.equal(self.first_nonfinite_step, 0)
        failed = (failed | ~tf.math.is_finite(loss)) & healthy
        self.calls.assign_add(1)
        _run_if(failed, lambda: self._remember(loss, local))
        apply = healthy & ~failed
        # On overflow the loss-scaling optimizer itself skips the update and halves its scale.
        _run_if(apply, lambda: self.optimizer.apply(gradients, self.variables))
        return apply & finite

    def _remember(self, loss: Any, local: LocalResult) -> None:
        import tensorflow as tf

        self.first_nonfinite_step.assign(self.calls)
        self.nonfinite_losses.assign(local.losses)
        if self.training.compression == "fp16":
            finite = [tf.reduce_all(tf.math.is_finite(tensor)) for tensor in (*local.gradients, loss)]
            self.compression_overflow.assign(tf.reduce_all(finite))

    @property
    def _inner_optimizer(self) -> Any:
        """The optimizer under loss scaling, if there is any."""
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def reset_optimizer(self) -> None:
        """Set moments and the count of updates to zero, as in a new optimizer; the EMA starts again as well."""
        inner = self._inner_optimizer
        for variable in inner.variables:
            if variable is not inner.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        if self.ema is not None:
            self.ema.restart()

    def all_variables(self) -> list[Any]:
        """Everything that steps change: of the model, the optimizer, the EMA, and of this object."""
        own = [self.sums, self.calls, self.first_nonfinite_step, self.nonfinite_losses, self.compression_overflow]
        averages = self.ema.variables if self.ema is not None else []
        return [*self.classifier.model.variables, *self.optimizer.variables, *averages, *own]

    def restart(self) -> None:
        """Forget the learning rate that was set; call it when all variables have their first values again."""
        self._rate = float("nan")

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the steps that follow."""
        if rate != self._rate:
            self._inner_optimizer.learning_rate.assign(rate)
            self._rate = rate

    def evaluated_weights(self, *, keep: bool = False) -> AbstractContextManager[None]:
        """Context in which the model holds the weights to evaluate and save: the EMA if there is one.

        keep: changes of the model within the context become part of the EMA.
        """
        return self.ema.swapped_in(keep=keep) if self.ema is not None else nullcontext()

    def read_sums(self) -> np.ndarray:
        """float64 [3]: sums of this rank since the last reset, in the order of `SUMS`; waits for the device."""
        return np.asarray(self.sums.numpy())

    def write_sums(self, values: np.ndarray) -> None:
        """Set the sums, float64 [3]: zeros at the start of an epoch, saved ones on resuming."""
        self.sums.assign(values)


def _run_if(condition: Any, action: Callable[[], object]) -> None:
    """Run `action` inside a `tf.function` if `condition`, bool [], is true on the device."""
    import tensorflow as tf

    def branch() -> Any:
        action()
        return tf.constant(0)

    tf.cond(condition, branch, lambda: tf.constant(0))
