"""The stack's MLP: its start, training, and agreement of NumPy and Keras."""

import numpy as np
import pytest

from data_tools.errors import UserError
from trainer.scoring.metrics import negative_log_likelihood
from trainer.scoring.temperature import softmax
from trainer.stack import blend
from trainer.stack.config import StackConfig
from trainer.stack.mlp import Mlp, MlpTrainer, keras_model, starting_mlp, train_mlp

CLASSES = 5


def pages(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Outputs float32[n, 3, C] of three members and labels int32[n]."""
    generator = np.random.default_rng(2)
    labels = generator.integers(0, CLASSES, count).astype(np.int32)
    logits = 2.5 * np.eye(CLASSES)[labels][:, None] + generator.normal(size=(count, 3, CLASSES))
    return softmax(logits).astype(np.float32), labels


def test_it_starts_as_the_weighted_average() -> None:
    outputs, _ = pages()
    weights = np.array([5.0, 2.0, 0.5])
    mlp = starting_mlp(weights, CLASSES, config=StackConfig(), seed=1)
    flat = outputs.reshape(len(outputs), -1)
    assert mlp.probabilities(flat) == pytest.approx(blend.weighted(outputs, weights), abs=1e-6)
    assert mlp.hidden_kernel.shape == (3 * CLASSES, 4 * CLASSES)


def test_the_start_depends_on_the_seed_only() -> None:
    config = StackConfig(start="random")
    one, two, three = (starting_mlp(np.ones(3), CLASSES, config=config, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.hidden_kernel, two.hidden_kernel)
    assert not np.array_equal(one.hidden_kernel, three.hidden_kernel)


def test_too_few_hidden_units_for_the_average_are_rejected() -> None:
    with pytest.raises(UserError, match=r"stack\.hidden: 3 units cannot start .* give 5 or more"):
        starting_mlp(np.ones(3), CLASSES, config=StackConfig(hidden=3), seed=1)


def test_weights_that_are_not_finite_are_an_error_that_names_the_settings() -> None:
    outputs, labels = pages(40)
    config = StackConfig(epochs=2, learning_rate=1e30)
    start = starting_mlp(np.full(3, 3.0), CLASSES, config=config, seed=1)
    with pytest.raises(UserError, match=r"^stack\.learning_rate, stack\.l2: .* not finite after epoch \d") as caught:
        list(train_mlp(outputs.reshape(len(outputs), -1), labels, start=start, config=config, seed=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", ["weighted", "random"])
def test_it_learns_and_repeats_bit_for_bit(start: str) -> None:
    outputs, labels = pages()
    flat = outputs.reshape(len(outputs), -1)
    config = StackConfig(start=start, epochs=3, learning_rate=0.01)  # type: ignore[arg-type]
    first = starting_mlp(np.full(3, 3.0), CLASSES, config=config, seed=1)

    def trained() -> list[Mlp]:
        return list(train_mlp(flat, labels, start=first, config=config, seed=1))

    one, two = trained(), trained()
    assert len(one) == config.epochs
    for left, right in zip(one[-1].arrays(), two[-1].arrays(), strict=True):
        assert np.array_equal(left, right)
    losses = [negative_log_likelihood(labels, mlp.probabilities(flat)) for mlp in (first, one[-1])]
    assert losses[1] < losses[0]


def test_keras_computes_the_same_probabilities() -> None:
    outputs, _ = pages(20)
    flat = outputs.reshape(len(outputs), -1)
    mlp = starting_mlp(np.array([5.0, 2.0, -0.5]), CLASSES, config=StackConfig(), seed=1)
    model = keras_model(mlp, StackConfig())
    assert np.asarray(model(flat)) == pytest.approx(mlp.probabilities(flat), abs=1e-6)


def test_pages_of_weight_zero_do_not_count() -> None:
    outputs, labels = pages(40)
    flat = outputs.reshape(len(outputs), -1)
    config = StackConfig(epochs=2, batch=40, learning_rate=0.01)
    half = StackConfig(epochs=2, batch=20, learning_rate=0.01)
    start = starting_mlp(np.full(3, 3.0), CLASSES, config=config, seed=1)
    weights = np.tile([2.0, 0.0], 20)
    *_, whole = MlpTrainer(config).train(flat, labels, start=start, seed=1, page_weights=weights)
    *_, alone = MlpTrainer(half).train(flat[::2], labels[::2], start=start, seed=1)
    for left, right in zip(whole.arrays(), alone.arrays(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)
