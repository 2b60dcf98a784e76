"""The recipe's stack: two Dense layers on the concatenated softmax outputs of all members."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.errors import UserError
from trainer.scoring.temperature import softmax
from trainer.stack.blend import as_kernel
from trainer.stack.config import StackConfig

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mlp:
    """Weights, float32: hidden kernel [members · C, hidden] and bias, output kernel [hidden, C] and bias."""

    hidden_kernel: Array
    hidden_bias: Array
    output_kernel: Array
    output_bias: Array

    def arrays(self) -> list[Array]:
        """The four arrays in the order of `keras.Model.get_weights`."""
        return [self.hidden_kernel, self.hidden_bias, self.output_kernel, self.output_bias]

    def probabilities(self, inputs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Softmax outputs: float[n, members · C] -> float64[n, C]."""
        hidden = np.maximum(inputs.astype(np.float64) @ self.hidden_kernel + self.hidden_bias, 0)
        return softmax(hidden @ self.output_kernel + self.output_bias)


def starting_mlp(member_weights: npt.NDArray[np.float64], classes: int, *, config: StackConfig, seed: int) -> Mlp:
    """The MLP before training; with `start: weighted` its outputs are those of the weighted average.

    member_weights: float64[members]. With `start: weighted`, hidden unit c is the weighted sum of the members'
    probabilities of class c and the only input of output c (the ReLU clips a sum below zero, which takes a negative
    weight, to zero). The output weights of all other hidden units are zero.

    Raises:
        UserError: see `StackConfig.check_hidden`.
    """
    config.check_hidden(classes)
    features, hidden = len(member_weights) * classes, config.hidden or 4 * classes
    generator = np.random.default_rng(seed)
    first, second = _glorot(generator, features, hidden), _glorot(generator, hidden, classes)
    if config.start == "weighted":
        scale = max(float(np.abs(member_weights).sum()), 1.0)
        first[:, :classes] = as_kernel(member_weights / scale, classes)
        second = np.concatenate([scale * np.eye(classes), np.zeros((hidden - classes, classes))])
    zeros = np.zeros(hidden, np.float32), np.zeros(classes, np.float32)
    return Mlp(first.astype(np.float32), zeros[0], second.astype(np.float32), zeros[1])


def _glorot(generator: np.random.Generator, fan_in: int, fan_out: int) -> npt.NDArray[np.float64]:
    """Glorot and Bengio 2010: uniform within ± sqrt(6 / (fan in + fan out)); the default of Keras' Dense."""
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return generator.uniform(-limit, limit, (fan_in, fan_out))


def train_mlp(
    inputs: Array, labels: npt.NDArray[np.int32], *, start: Mlp, config: StackConfig, seed: int
) -> Iterator[Mlp]:
    """Train on float32[n, features] and int32[n] (class index); yields the weights after each epoch.

    seed: of the order of the pages, the only random choice here. The same inputs give the same bits.
    """
    return MlpTrainer(config).train(inputs, labels, start=start, seed=seed)


class MlpTrainer:
    """Trains MLPs of one shape, one after the other; TensorFlow compiles the epoch for the first of them only."""

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._epoch: _Epoch | None = None

    def train(
        self,
        inputs: Array,
        labels: npt.NDArray[np.int32],
        *,
        start: Mlp,
        seed: int,
        page_weights: npt.NDArray[np.float64] | None = None,
    ) -> Iterator[Mlp]:
        """As `train_mlp`; page_weights: of the pages' losses, float64[n] with a mean of 1, None: all alike.

        Raises:
            UserError: the weights are not finite after an epoch.
        """
        import keras

        weights = np.ones(len(labels)) if page_weights is None else page_weights

        # Such a small network is fastest on the CPU.
        with keras.device("cpu:0"):
            self._epoch = self._epoch or _Epoch(start, self._config)
            self._epoch.restart(start)
            generator = np.random.default_rng([seed, 1])
            for epoch in range(1, self._config.epochs + 1):
                self._epoch.run(inputs, labels, weights.astype(np.float32), generator.permutation(len(labels)))
                mlp = Mlp(*self._epoch.model.get_weights())
                if not all(np.isfinite(array).all() for array in mlp.arrays()):
                    raise UserError(
                        f"stack.learning_rate, stack.l2: the weights of the stack's MLP are not finite after epoch "
                        f"{epoch}, with {self._config.learning_rate:g} and {self._config.l2:g}; lower them"
                    )
                yield mlp


class _Epoch:
    """One epoch as one TensorFlow function: a step takes less time than a call from Python."""

    def __init__(self, start: Mlp, config: StackConfig) -> None:
        import keras

        self.model = keras_model(start, config)
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self.model.trainable_variables)
        self._fresh = [variable.numpy() for variable in self._optimizer.variables]
        self._compiled = self._compile(config.batch)

    def restart(self, start: Mlp) -> None:
        """Go back to a start: weights, the origins of the penalty, and the optimizer's moments."""
        self.model.set_weights(start.arrays())
        for layer in self.model.layers:
            layer.kernel_regularizer.restart(layer.kernel)
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)

    def run(self, inputs: Array, labels: npt.NDArray[np.int32], weights: Array, order: npt.NDArray[np.int64]) -> None:
        """Train on each page once, in `order` int64[n]; weights: float32[n], of the losses."""
        import tensorflow as tf

        self._compiled(tf.constant(inputs), tf.constant(labels), tf.constant(weights), tf.constant(order))

    def _compile(self, batch: int) -> Callable[[Any, Any, Any, Any], None]:
        import keras
        import tensorflow as tf

        model, optimizer = self.model, self._optimizer
        cross_entropy = keras.losses.SparseCategoricalCrossentropy()
        features = model.input_shape[1]
        signature = [tf.TensorSpec(shape, kind) for shape, kind in
                     (([None, features], tf.float32), ([None], tf.int32), ([None], tf.float32), ([None], tf.int64))
                     ]  # fmt: skip

        @tf.function(input_signature=signature)
        def train_epoch(inputs: Any, labels: Any, weights: Any, order: Any) -> None:
            for first in tf.range(0, tf.shape(order)[0], batch):
                rows = order[first : first + batch]
                with tf.GradientTape() as tape:
                    answers = model(tf.gather(inputs, rows), training=True)
                    # The sum of the weighted losses, divided by the number of pages.
                    losses = cross_entropy(tf.gather(labels, rows), answers, tf.gather(weights, rows))
                    loss = losses + tf.add_n(model.losses)
                optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        return train_epoch


class _Pull:
    """A penalty: l2 / 2 times the squared distance from the layer's start, or from zero with random weights."""

    def __init__(self, shape: tuple[int, ...], config: StackConfig) -> None:
        import tensorflow as tf

        self._origin = tf.Variable(np.zeros(shape, np.float32), trainable=False)
        self._config = config

    def restart(self, kernel: Any) -> None:
        """Make the kernel's values the start."""
        if self._config.start == "weighted":
            self._origin.assign(kernel)

    def __call__(self, kernel: Any) -> Any:
        import keras

        return self._config.l2 / 2 * keras.ops.sum(keras.ops.square(kernel - self._origin))


def keras_model(start: Mlp, config: StackConfig) -> Any:
    """The MLP as a Keras model with the weights of `start`: float32[n, features] -> float32[n, C]."""
    import keras

    features, hidden = start.hidden_kernel.shape
    classes = start.output_kernel.shape[1]
    dense = keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input((features,)),
            dense(hidden, activation="relu", kernel_regularizer=_Pull((features, hidden), config)),
            dense(classes, activation="softmax", kernel_regularizer=_Pull((hidden, classes), config)),
        ]
    )
    model.set_weights(start.arrays())
    return model
