"""Parts of the step that need no second worker: which variables decay, and why a step is not finite."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trainer.config import ModelConfig, OptimizerConfig, TrainingConfig
from trainer.network.classifier import Geometry, build_classifier
from trainer.optimizer.build import build_optimizer
from trainer.training.step import TrainStep
from trainer.world import World

CLASSES, BATCH = 4, 8


class CompressingWorld(World):
    """A world of one whose averages pass through float16, as those of several ranks do with `compression: fp16`."""

    def average_step(self, gradients: Sequence[Any], *rest: Any, **options: Any) -> Any:
        import tensorflow as tf

        narrow = [tf.cast(tf.cast(gradient, tf.float16), tf.float32) for gradient in gradients]
        return super().average_step(narrow, *rest, **options)


def make_step(optimizer: OptimizerConfig, training: TrainingConfig, world: World | None = None) -> TrainStep:
    import keras

    keras.utils.set_random_seed(1)
    keras.mixed_precision.set_global_policy(training.precision)
    try:
        config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,), dropout=0.0)
        classifier = build_classifier(config, Geometry(16, 16, 1, 16), classes=CLASSES)
        made = build_optimizer(optimizer, precision=training.precision)
        return TrainStep(classifier, made, world or World(0, 1, 0), training)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def pages() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (BATCH, 16, 16, 1), dtype=np.uint8), np.arange(BATCH, dtype=np.int32) % CLASSES


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_weight_decay_moves_kernels_and_leaves_biases_and_batch_norm_alone(name: Any, precision: Any) -> None:
    training = TrainingConfig(precision=precision)
    after: list[dict[str, np.ndarray]] = []
    for decay in (0.0, 0.5):
        step = make_step(OptimizerConfig(name=name, learning_rate=0.1, weight_decay=decay), training)
        for variable in step.variables:
            if len(variable.shape) <= 1:
                variable.assign(np.full(variable.shape, 0.7, np.float32))
        inner = getattr(step.optimizer, "inner_optimizer", step.optimizer)
        zeros = [np.zeros(v.shape, np.float32) for v in step.variables]
        inner.apply(zeros, step.variables)
        after.append({v.path: v.numpy() for v in step.variables})
    plain, decayed = after
    moved = {path for path in plain if not np.array_equal(plain[path], decayed[path])}
    assert moved == {path for path in plain if plain[path].ndim > 1}
    assert {path.rpartition("/")[2] for path in set(plain) - moved} == {"bias", "gamma", "beta"}


@pytest.mark.parametrize(
    ("compression", "factor", "overflow"),
    [
        ("fp16", 1e12, True),  # finite in float32, more than float16 holds
        ("none", 1e12, False),  # no compression: nothing to overflow
        ("fp16", float("nan"), False),  # not finite before any compression
    ],
)
def test_an_overflow_of_the_compression_is_recognized(compression: Any, factor: float, overflow: bool) -> None:
    training = TrainingConfig(compression=compression)
    world = CompressingWorld(0, 1, 0) if compression == "fp16" else None
    step = make_step(OptimizerConfig(learning_rate=1e-30), training, world)
    scale_loss = step.optimizer.scale_loss
    step.optimizer.scale_loss = lambda loss: scale_loss(loss) * factor
    step(*pages())
    assert int(step.first_nonfinite_step.numpy()) == (1 if compression == "fp16" else 0)
    assert bool(step.compression_overflow.numpy()) is overflow


WEIGHTS = (4.0, 0.25, 1.0, 2.0)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_class_weights_multiply_the_losses_of_their_pages(micro_batches: int) -> None:
    """The gradient is that of sum(w[y] loss) / b; without weights in the sums, and for parts of any classes."""
    import tensorflow as tf

    from trainer.training.gradients import LocalGradients

    training, optimizer = TrainingConfig(label_smoothing=0.1), OptimizerConfig(learning_rate=0.1)
    images, labels = pages()
    labels = np.sort(labels)  # Each part has other classes.
    classifier = make_step(optimizer, training).classifier
    for layer in classifier.model._flatten_layers():
        if "batch_normalization" in layer.name or type(layer).__name__ == "BatchNormalization":
            layer.trainable = False  # Its moments are those of a part.

    def local(weights: Sequence[float] | None, images: Any, labels: Any, parts: int = 1) -> Any:
        compute = LocalGradients(
            classifier, build_optimizer(optimizer), training, micro_batches=parts, class_weights=weights
        )
        return tf.function(compute)(tf.constant(images), tf.constant(labels))

    found = local(WEIGHTS, images, labels, micro_batches)
    single = [local(None, images[i : i + 1], labels[i : i + 1]) for i in range(BATCH)]
    for place, gradient in enumerate(found.gradients):
        rows = [WEIGHTS[label] * np.asarray(one.gradients[place]) for label, one in zip(labels, single, strict=True)]
        np.testing.assert_allclose(gradient, np.sum(rows, axis=0) / BATCH, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.losses, np.concatenate([one.losses for one in single]), rtol=1e-4)
