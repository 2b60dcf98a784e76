"""Optimizers against their published formulas, and learning rates by layer; no second worker is needed."""

from typing import Any

import numpy as np
import pytest

from trainer.config import ModelConfig, OptimizerConfig
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.freezing import named_layers
from trainer.optimizer.build import build_optimizer, decays
from trainer.optimizer.layer_rates import rate_shares

STEPS, RATE, DECAY = 6, 0.01, 0.1


def adamw(kernel: np.ndarray, gradients: list[np.ndarray], *, decay: float, rate: float = RATE) -> np.ndarray:
    """Algorithm 2 of Loshchilov & Hutter 2019 (arXiv 1711.05101), with Adam's epsilon as in Kingma & Ba, section 2."""
    first, second = np.zeros_like(kernel), np.zeros_like(kernel)
    for step, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        kernel = kernel - rate * decay * kernel - corrected * first / (np.sqrt(second) + 1e-7)
    return kernel


def gradients(seed: int = 0) -> list[list[np.ndarray]]:
    random = np.random.default_rng(seed)
    return [[random.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,))] for _ in range(STEPS)]


def updated(
    config: OptimizerConfig, shares: tuple[float, float] | None = None, *, precision: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    """A kernel and a bias of ones after some updates; with `mixed_float16` by scaled gradients."""
    import keras
    import tensorflow as tf

    variables = [keras.Variable(np.ones(shape, np.float32)) for shape in ((3, 4), (4,))]
    by_reference = None if shares is None else dict(zip((v.value.ref() for v in variables), shares, strict=True))
    optimizer = build_optimizer(config, precision=precision, shares=by_reference)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner.exclude_from_weight_decay(var_list=[v for v in variables if not decays(v)])
    optimizer.build(variables)
    apply = tf.function(lambda given: optimizer.apply(given, variables), autograph=False)
    for step in gradients():
        apply([optimizer.scale_loss(tf.constant(gradient)) for gradient in step])
    return variables[0].numpy(), variables[1].numpy()


@pytest.mark.parametrize("shares", [None, (1.0, 1.0), (0.25, 0.5)])
def test_adamw_is_the_published_algorithm_on_kernels_and_adam_on_vectors(shares: tuple[float, float] | None) -> None:
    kernel, bias = updated(OptimizerConfig(name="adamw", learning_rate=RATE, weight_decay=DECAY), shares)
    of_kernel, of_bias = shares or (1.0, 1.0)
    expected = adamw(np.ones((3, 4)), [g[0] for g in gradients()], decay=DECAY, rate=RATE * of_kernel)
    np.testing.assert_allclose(kernel, expected, atol=1e-6)
    np.testing.assert_allclose(
        bias, adamw(np.ones(4), [g[1] for g in gradients()], decay=0, rate=RATE * of_bias), atol=1e-6
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "sgd", "weight_decay": DECAY},
        {"name": "sgd", "momentum": 0.9, "nesterov": True},
        {"name": "adam"},
        {"name": "adamw", "weight_decay": DECAY, "clip_norm": 0.5},
    ],
)
def test_a_share_is_a_lower_rate_for_that_variable_alone(settings: dict[str, Any]) -> None:
    config = OptimizerConfig(learning_rate=RATE, **settings)
    kernel, bias = updated(config)
    same_kernel, same_bias = updated(config, (1.0, 1.0))
    np.testing.assert_array_equal(same_kernel, kernel)
    np.testing.assert_array_equal(same_bias, bias)
    slow_kernel, same_bias = updated(config, (0.25, 1.0))
    np.testing.assert_array_equal(same_bias, bias)
    lower = updated(OptimizerConfig(**{"learning_rate": RATE / 4, **settings}))[0]
    np.testing.assert_allclose(slow_kernel, lower, rtol=1e-6)
    assert np.abs(slow_kernel - kernel).max() > 1e-3


def test_shares_hold_under_loss_scaling() -> None:
    config = OptimizerConfig(name="adamw", learning_rate=RATE, weight_decay=DECAY)
    plain = updated(config, (0.25, 0.5))
    scaled = updated(config, (0.25, 0.5), precision="mixed_float16")
    for one, other in zip(scaled, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_batchnorm_learns_at_the_rate_of_its_convolution_and_the_head_at_the_full_rate() -> None:
    config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,))
    classifier = build_classifier(config, Geometry(32, 32, 1, 32), classes=3)
    shares = rate_shares(classifier, 0.5)
    assert shares is not None
    by_layer = {
        name: {shares[v.value.ref()] for v in layer.weights}
        for name, layer in named_layers(classifier).items()
        if layer.trainable_variables
    }
    expected = {"dense_1": {1.0}, "logits": {1.0}}
    for number in range(5):
        suffix = f"_{number}" if number else ""
        expected |= {f"backbone/{kind}{suffix}": {0.5 ** (5 - number)} for kind in ("conv2d", "batch_normalization")}
    assert by_layer == expected
    assert rate_shares(classifier, None) is None
