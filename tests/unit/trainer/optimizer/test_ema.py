"""Averages of weights: the formula, the swap, and resuming."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trainer.network.weights import transfer
from trainer.optimizer.ema import RUNNING, WeightEma, effective_decay


@pytest.mark.parametrize(
    ("decay", "updates", "expected"),
    [(0.999, 0, 0.0), (0.999, 1, 0.1), (0.999, 91, 0.91), (0.999, 10**6, 0.999), (0.05, 1, 0.05), (0.0, 5, 0.0)],
)
def test_the_decay_grows_to_its_value(decay: float, updates: int, expected: float) -> None:
    assert effective_decay(decay, updates) == pytest.approx(expected)


def model() -> Any:
    """A model with weights, BatchNorm statistics and a dropout seed."""
    import keras

    keras.utils.clear_session(free_memory=False)
    layers = [keras.layers.Dense(2, name="d"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((3,)), *layers])


def walk(network: Any, averages: WeightEma, values: Sequence[float]) -> None:
    """Set all weights to each value in turn, and average after each."""
    for value in values:
        for weight in network.weights:
            if "seed" not in weight.path:
                weight.assign(np.full(weight.shape, value, np.float32))
        averages.update()


def files_of(averages: WeightEma, network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of a checkpoint's two files, as arrays."""
    files = averages.files({v.path: v for v in network.variables}, {})
    weights, optimizer = ({name: np.array(v.numpy()) for name, v in file.items()} for file in files)
    return weights, optimizer


def test_the_average_by_hand() -> None:
    network = model()
    averages = WeightEma(network.variables, decay=0.15)
    walk(network, averages, [1.0, 2.0, 4.0])
    # The first update takes the weights as they are; then min(0.15, 1/10), min(0.15, 2/11).
    expected = 0.15 * (0.1 * 1.0 + 0.9 * 2.0) + 0.85 * 4.0
    weights, optimizer = files_of(averages, network)
    assert optimizer.pop("average_updates") == 3
    assert set(optimizer) == {f"{RUNNING}{name}" for name in weights if "seed" not in name}
    assert len(optimizer) == 6
    for name, running in optimizer.items():
        assert np.array_equal(running, np.full(running.shape, 4.0, np.float32))
        average = weights[name.removeprefix(RUNNING)]
        assert average == pytest.approx(np.full(average.shape, expected), rel=1e-6)


def test_a_weight_that_never_moves_is_its_average_to_the_bit() -> None:
    network = model()
    averages = WeightEma(network.variables, decay=0.9)
    walk(network, averages, [0.1] * 20)
    kernel = network.get_layer("d").kernel
    assert np.array_equal(files_of(averages, network)[0][kernel.path], kernel.numpy())


def test_restart_discards_the_averages() -> None:
    network = model()
    averages = WeightEma(network.variables, decay=0.9)
    walk(network, averages, [1.0, 2.0])
    averages.restart()
    walk(network, averages, [7.0])
    kernel = network.get_layer("d").kernel
    assert np.array_equal(files_of(averages, network)[0][kernel.path], np.full((3, 2), 7.0))


def test_recomputed_statistics_become_averages() -> None:
    network = model()
    averages = WeightEma(network.variables, decay=0.9)
    walk(network, averages, [1.0, 2.0])
    mean = network.layers[1].moving_mean
    with averages.swapped_in(keep=True):
        mean.assign(np.full(mean.shape, 9.0, np.float32))
    assert np.array_equal(mean.numpy(), np.full(mean.shape, 2.0)), "training continues with its own"
    with averages.swapped_in():
        assert np.array_equal(mean.numpy(), np.full(mean.shape, 9.0))


def test_the_model_holds_the_averages_within_the_context_and_its_own_weights_after_it() -> None:
    network = model()
    averages = WeightEma(network.variables, decay=0.9)
    walk(network, averages, [1.0, 5.0])
    kernel = network.get_layer("d").kernel
    expected = files_of(averages, network)[0][kernel.path]
    with pytest.raises(RuntimeError, match="evaluation fails"), averages.swapped_in():
        assert np.array_equal(kernel.numpy(), expected)
        assert not np.allclose(kernel.numpy(), 5.0)
        raise RuntimeError("evaluation fails")
    assert np.array_equal(kernel.numpy(), np.full((3, 2), 5.0))


def test_a_resumed_average_continues_with_the_same_bits() -> None:
    network = model()
    uninterrupted = WeightEma(network.variables, decay=0.9)
    walk(network, uninterrupted, [0.3, 0.7])
    resumed = WeightEma(network.variables, decay=0.9)
    files = resumed.files({v.path: v for v in network.variables}, {})
    for variables, arrays in zip(files, files_of(uninterrupted, network), strict=True):
        transfer(variables, arrays)
    for averages in (uninterrupted, resumed):
        walk(network, averages, [0.9, -0.4])
    ours, theirs = files_of(uninterrupted, network), files_of(resumed, network)
    for one, other in zip(ours, theirs, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_an_invalid_decay_is_rejected(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        WeightEma([], decay=decay)
