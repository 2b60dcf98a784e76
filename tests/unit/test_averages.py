"""Averages of weights: the formula, the swap, and resuming."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trainer.averages import WeightAverages, effective_decay, load_averages


@pytest.mark.parametrize(
    ("decay", "updates", "expected"),
    [(0.999, 0, 0.1), (0.999, 90, 0.91), (0.999, 10**6, 0.999), (0.05, 0, 0.05), (0.0, 5, 0.0)],
)
def test_the_decay_grows_to_its_value(decay: float, updates: int, expected: float) -> None:
    assert effective_decay(decay, updates) == pytest.approx(expected)


def model() -> Any:
    """A model with weights, BatchNorm statistics and a dropout seed."""
    import keras

    keras.utils.clear_session(free_memory=False)
    layers = [keras.layers.Dense(2, name="d"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((3,)), *layers])


def walk(network: Any, averages: WeightAverages, values: Sequence[float]) -> None:
    """Set all weights to each value in turn, and average after each."""
    for value in values:
        for weight in network.weights:
            if "seed" not in weight.path:
                weight.assign(np.full(weight.shape, value, np.float32))
        averages.update()


def test_the_average_by_hand() -> None:
    network = model()
    for weight in network.weights:
        weight.assign(np.zeros(weight.shape))
    averages = WeightAverages(network.variables, decay=0.15)
    walk(network, averages, [1.0, 2.0])
    # The first update has decay 0.1, the second min(0.15, 2/11).
    expected = 0.15 * 0.9 + 0.85 * 2.0
    arrays = averages.arrays()
    assert arrays.pop("updates") == 2
    assert len(arrays) == 6
    for array in arrays.values():
        assert array == pytest.approx(np.full(array.shape, expected), rel=1e-6)


def test_within_the_block_the_model_holds_the_averages_and_then_its_own_weights() -> None:
    network = model()
    averages = WeightAverages(network.variables, decay=0.9)
    walk(network, averages, [1.0, 5.0])
    kernel = network.get_layer("d").kernel
    with pytest.raises(RuntimeError, match="evaluation fails"), averages.in_place():
        assert np.array_equal(kernel.numpy(), averages.arrays()[kernel.path])
        assert not np.allclose(kernel.numpy(), 5.0)
        raise RuntimeError("evaluation fails")
    assert np.array_equal(kernel.numpy(), np.full((3, 2), 5.0))


def test_a_resumed_average_goes_on_to_the_bit() -> None:
    network = model()
    whole = WeightAverages(network.variables, decay=0.9)
    walk(network, whole, [0.3, 0.7])
    resumed = WeightAverages(network.variables, decay=0.9)
    resumed.restore(whole.arrays())
    for averages in (whole, resumed):
        walk(network, averages, [0.9, -0.4])
    for name, array in whole.arrays().items():
        assert np.array_equal(array, resumed.arrays()[name])


def test_averages_load_into_a_model() -> None:
    network = model()
    averages = WeightAverages(network.variables, decay=0.9)
    walk(network, averages, [0.3, 0.7])
    other = model()
    load_averages(other.variables, averages.arrays(), source="test")
    kernel = other.get_layer("d").kernel
    assert np.array_equal(kernel.numpy(), averages.arrays()[kernel.path])


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="not within"):
        WeightAverages([], decay=decay)
