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


def frozen_norms(optimizer: OptimizerConfig, training: TrainingConfig) -> Any:
    """A classifier whose BatchNorm does not depend on the other pages of a part."""
    classifier = make_step(optimizer, training).classifier
    for layer in classifier.model._flatten_layers():
        if type(layer).__name__ == "BatchNormalization":
            layer.trainable = False
    return classifier


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_mixed_page_counts_as_two_pages_in_its_shares(micro_batches: int) -> None:
    """Gradients with class weights and label smoothing, losses and correct shares, against two passes of all pages."""
    import tensorflow as tf

    from trainer.training.gradients import LocalGradients, MixedLabels

    training, optimizer = TrainingConfig(label_smoothing=0.1), OptimizerConfig(learning_rate=0.1)
    images, labels = pages()
    partners = np.roll(labels, 3)
    shares = np.linspace(0, 1, BATCH).astype(np.float32)
    classifier = frozen_norms(optimizer, training)
    mixed = LocalGradients(
        classifier, build_optimizer(optimizer), training, micro_batches=micro_batches, class_weights=WEIGHTS
    )
    found = tf.function(mixed)(images, labels, mix=MixedLabels(tf.constant(partners), tf.constant(shares)))
    # An independent computation of the definition.
    logits = np.asarray(classifier.logits(images, training=True), np.float64)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smooth = 0.9 * np.eye(CLASSES) + 0.1 / CLASSES
    targets = shares[:, None] * smooth[labels] + (1 - shares[:, None]) * smooth[partners]
    np.testing.assert_allclose(found.losses, -(targets * log_softmax).sum(axis=1), rtol=1e-4)
    guess = logits.argmax(axis=1)
    np.testing.assert_allclose(
        found.correct, shares * (guess == labels) + (1 - shares) * (guess == partners), rtol=1e-6
    )
    weights = np.array(WEIGHTS, np.float32)
    own, other = shares * weights[labels], (1 - shares) * weights[partners]
    weighted = own[:, None] * smooth[labels] + other[:, None] * smooth[partners]
    with tf.GradientTape() as tape:
        scores = classifier.logits(images, training=True)
        loss = -tf.reduce_mean(tf.reduce_sum(tf.nn.log_softmax(scores) * weighted.astype(np.float32), axis=1))
    expected = tape.gradient(loss, [v.value for v in classifier.model.trainable_variables])
    for ours, theirs in zip(found.gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_a_share_of_one_is_a_page_that_is_not_mixed() -> None:
    import tensorflow as tf

    from trainer.training.gradients import LocalGradients, MixedLabels

    training, optimizer = TrainingConfig(label_smoothing=0.1), OptimizerConfig(learning_rate=0.1)
    images, labels = pages()
    compute = LocalGradients(frozen_norms(optimizer, training), build_optimizer(optimizer), training)
    alone = tf.function(compute)(images, labels)
    mix = MixedLabels(tf.constant(np.roll(labels, 1)), tf.ones([BATCH]))
    mixed = tf.function(compute)(images, labels, mix=mix)
    np.testing.assert_allclose(mixed.losses, alone.losses, rtol=1e-6)
    np.testing.assert_array_equal(mixed.correct, alone.correct)
    for ours, theirs in zip(mixed.gradients, alone.gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_student_learns_both_teachers_answers_of_a_mixed_page(micro_batches: int) -> None:
    import tensorflow as tf

    from trainer.soft_targets.config import Distillation
    from trainer.training.gradients import LocalGradients, MixedLabels

    training, optimizer = TrainingConfig(), OptimizerConfig(learning_rate=0.1)
    images, labels = pages()
    classifier = frozen_norms(optimizer, training)
    random = np.random.default_rng(1)
    own, other = (tf.constant(random.dirichlet(np.ones(CLASSES), BATCH).astype(np.float32)) for _ in range(2))
    labelled, shares = tf.ones([BATCH]), np.linspace(0, 1, BATCH).astype(np.float32)
    partners = tf.constant(np.roll(labels, 3))
    compute = LocalGradients(
        classifier, build_optimizer(optimizer), training, micro_batches=micro_batches,
        distill=Distillation(pages=BATCH, temperature=2.0, alpha=0.7),
    )  # fmt: skip
    local = tf.function(compute)
    mixed = local(images, labels, own, labelled, mix=MixedLabels(partners, tf.constant(shares), (other, labelled)))
    first, second = local(images, labels, own, labelled), local(images, partners, other, labelled)
    np.testing.assert_allclose(mixed.losses, shares * first.losses + (1 - shares) * second.losses, rtol=1e-5)
