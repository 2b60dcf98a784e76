"""Fused BatchNorm computes what Keras' composed BatchNorm does, and leaves an ordinary model behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.config import ModelConfig, OptimizerConfig, TrainingConfig
from trainer.device import prepare_device
from trainer.network.classifier import Classifier, Geometry, build_classifier, moving_statistics
from trainer.network.fused_batchnorm import fuse_batchnorm
from trainer.optimizer.build import build_optimizer
from trainer.training.step import TrainStep
from trainer.world import World

PX, PAGES = 48, 8
KERNEL = "FusedBatchNormV3"


def pages() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.integers(0, 256, (PAGES, PX, PX, 1), np.uint8), random.integers(0, 4, PAGES, np.int32)


def built(backbone: str = "SmallConvNet", *, micro_batches: int = 1, **settings: Any) -> TrainStep:
    training = TrainingConfig(**settings)
    world = World.start()
    prepare_device(world, training, seed=1)
    config = ModelConfig(backbone=backbone, weights="none", dense=(8,), dropout=0.0)
    classifier = build_classifier(config, Geometry(PX, PX, 1, PX), classes=4)
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.01), precision=training.precision)
    return TrainStep(classifier, optimizer, world, training, micro_batches=micro_batches)


def losses(step: TrainStep, steps: int) -> list[float]:
    """The mean loss of each step."""
    images, labels = pages()
    found = []
    for _ in range(steps):
        step.write_sums(np.zeros(3))
        step(images, labels)
        loss, _, count = step.read_sums()
        found.append(loss / count)
    return found


def kernels(classifier: Classifier) -> int:
    """How often the fused training kernel is in the network's training graph."""
    import tensorflow as tf

    graph = (
        tf.function(lambda x: classifier.logits(x, training=True))
        .get_concrete_function(tf.TensorSpec([PAGES, PX, PX, 1], tf.uint8))
        .graph
    )
    return sum(one.type == KERNEL and one.get_attr("is_training") for one in graph.get_operations())


def test_twenty_steps_are_equal() -> None:
    """Each from the same variables: a unit of ReLU within rounding of zero would drive two runs apart, and two runs of
    Keras' own that TensorFlow optimizes differently as well. The gradient has a test of its own."""
    steps = {fused: built(fused_batch_norm=fused) for fused in (True, False)}
    for fused, step in steps.items():
        layers = [layer for layer in step.classifier.backbone.layers if "BatchNorm" in type(layer).__name__]
        assert kernels(step.classifier) == (len(layers) if fused else 0)
    for _ in range(20):
        for one, other in zip(steps[True].all_variables(), steps[False].all_variables(), strict=True):
            other.assign(one)
        first, second = (losses(step, 1) for step in steps.values())
        np.testing.assert_allclose(first, second, rtol=1e-5)
        moved = [{v.path: v.numpy() for v in moving_statistics(step.classifier)} for step in steps.values()]
        assert moved[0].keys() == moved[1].keys()
        for path, values in moved[0].items():
            np.testing.assert_allclose(values, moved[1][path], rtol=1e-5, atol=1e-6, err_msg=path)


def mobilenet_gradient(*, dtype: str, weights: list[np.ndarray] | None, fused: bool) -> tuple[Any, list[np.ndarray]]:
    """Gradient of a loss on MobileNetV2's features, float64 [all variables], and the weights at which it was taken."""
    import keras
    import tensorflow as tf

    images, _ = pages()
    keras.backend.set_floatx(dtype)
    try:
        keras.utils.set_random_seed(2)
        backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(PX, PX, 3))
        for variable, value in zip(backbone.variables, weights or (), strict=weights is not None):
            variable.assign(value)
        start = [variable.numpy() for variable in backbone.variables]
        if fused:
            fuse_batchnorm(Classifier(model=None, logits=None, backbone=backbone))
        with tf.GradientTape() as tape:
            features = backbone(tf.cast(images.repeat(3, axis=-1), dtype) / 127.5 - 1, training=True)
            loss = tf.reduce_mean(tf.square(features))
        gradients = tape.gradient(loss, [v.value for v in backbone.trainable_variables])
    finally:
        keras.backend.set_floatx("float32")
    return np.concatenate([np.asarray(one, np.float64).ravel() for one in gradients]), start


def test_the_gradient_of_a_deep_network_is_as_exact() -> None:
    """Rounding alone moves the gradient of a new MobileNetV2 by 1 %, so the reference is one in float64."""
    composed, weights = mobilenet_gradient(dtype="float32", weights=None, fused=False)
    fused, _ = mobilenet_gradient(dtype="float32", weights=weights, fused=True)
    exact, _ = mobilenet_gradient(dtype="float64", weights=weights, fused=False)
    error = {name: np.linalg.norm(one - exact) / np.linalg.norm(exact) for name, one in (("c", composed), ("f", fused))}
    assert error["f"] < 0.05
    assert error["f"] < 2 * error["c"]


@pytest.mark.parametrize(
    "settings",
    [{"micro_batches": 2}, {"jit_compile": True, "deterministic": False}, {"precision": "mixed_bfloat16"}],
    ids=str,
)
def test_other_options_give_the_same_losses(settings: dict[str, Any]) -> None:
    fused, composed = (losses(built(fused_batch_norm=fused, **settings), 3) for fused in (True, False))
    np.testing.assert_allclose(fused, composed, rtol=2e-2 if "precision" in settings else 1e-5)


def test_synchronized_layers_are_not_fused_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "trainer"):
        step = built(synchronized_batch_norm=True)
    assert kernels(step.classifier) == 0
    assert caplog.messages == ["BatchNorm is not fused, since training.synchronized_batch_norm is true"]


def test_frozen_layers_keep_their_statistics() -> None:
    step = built()
    layers = [layer for layer in step.classifier.backbone.layers if "BatchNorm" in type(layer).__name__]
    frozen = layers[0]
    step.set_frozen(frozenset({f"backbone/{frozen.name}"}))
    before = frozen.moving_mean.numpy().copy()
    losses(step, 2)
    np.testing.assert_array_equal(frozen.moving_mean.numpy(), before)
    assert kernels(step.classifier) == len(layers) - 1


def test_the_saved_model_is_an_ordinary_one(tmp_path: Path) -> None:
    import keras

    step = built()
    losses(step, 1)
    images, _ = pages()
    model = step.classifier.model
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    plain = Classifier(model=loaded, logits=loaded, backbone=None)
    assert kernels(plain) == 0, "a loaded model has Keras' own layers"
    np.testing.assert_allclose(loaded(images), model(images), rtol=1e-6)


def test_eager_batches_of_several_sizes_move_the_statistics_as_in_keras() -> None:
    import tensorflow as tf

    images, _ = pages()
    moved = []
    for fused in (True, False):
        step = built(fused_batch_norm=fused)
        for size in (2, PAGES):
            step.classifier.logits(tf.constant(images[:size]), training=True)
        moved.append([v.numpy() for v in moving_statistics(step.classifier)])
    for one, other in zip(*moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
