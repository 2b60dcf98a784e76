"""Exponential moving average (EMA) of the weights: smoother than those of the last step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.weights import is_seed, named, transfer

Arrays = dict[str, npt.NDArray[Any]]


def effective_decay(decay: float, updates: int) -> float:
    """The decay of the update after `updates` earlier ones: min(decay, (1 + n) / (10 + n)).

    The first steps would else be remembered for 1 / (1 - decay) steps. From TensorFlow's
    `tf.train.ExponentialMovingAverage`.
    """
    return min(decay, (1 + updates) / (10 + updates))


class WeightAverages:
    """A float32 average beside each weight of a model; call `update` after each step, in its tf.function.

    BatchNorm's statistics are averaged like the weights that they belong to. Every rank holds the same
    weights after every step, and so the same averages without any communication.
    """

    def __init__(self, variables: Sequence[Any], *, decay: float) -> None:
        """variables: Keras variables of one model; random seeds among them are left out.

        Raises:
            ValueError: `decay` is not within [0, 1).
        """
        import tensorflow as tf

        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is not within [0, 1)")
        self._decay = decay
        self._variables = [variable for variable in variables if not is_seed(variable)]
        self._averages = [tf.Variable(tf.cast(v.value, tf.float32), trainable=False) for v in self._variables]
        self._updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="average_updates")

    def update(self) -> None:
        """Move each average towards its weight: average += (1 - decay) · (weight - average)."""
        import tensorflow as tf

        count = tf.cast(self._updates, tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + count) / (10.0 + count))
        for average, variable in zip(self._averages, self._variables, strict=True):
            average.assign_add(share * (tf.cast(variable.value, tf.float32) - average))
        self._updates.assign_add(1)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the averages within the block, and its own weights again after it."""
        own = [np.array(variable.numpy()) for variable in self._variables]
        for variable, average in zip(self._variables, self._averages, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self._variables, own, strict=True):
                variable.assign(value)

    def arrays(self) -> Arrays:
        """The averages by the names of their weights, for a checkpoint; `updates` says how many went in."""
        averages = {v.path: np.array(a.numpy()) for v, a in zip(self._variables, self._averages, strict=True)}
        return {**averages, "updates": np.array(self._updates.numpy(), np.int64)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave, so that a resumed job goes on to the bit.

        Raises:
            KeyError: an average is missing.
        """
        for name, average in zip(named(self._variables), self._averages, strict=True):
            average.assign(arrays[name])
        self._updates.assign(int(arrays["updates"]))


def load_averages(variables: Sequence[Any], arrays: Mapping[str, npt.NDArray[Any]], *, source: str) -> None:
    """Put a checkpoint's averages into a model, strictly by name.

    Raises:
        UserError: the names or shapes do not fit.
    """
    transfer(variables, {name: array for name, array in arrays.items() if name != "updates"}, source=source)
