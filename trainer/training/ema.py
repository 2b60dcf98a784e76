"""Exponential moving average (EMA) of the weights: smoother than those of the last step.

Where it is on, the averages are the job's weights for everybody else: they are evaluated, pick the best epoch and
stand in a checkpoint's weight file. The weights that training goes on with lie beside the optimiser's variables.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trainer.network.weights import is_seed, named

Variables = dict[str, Any]

RUNNING = "running/"
"""Prefix, in a checkpoint's optimiser file, of the weights that training goes on with."""
UPDATES = "average_updates"
"""Name there of the number of updates that went into the averages."""


def effective_decay(decay: float, updates: int) -> float:
    """The decay of the update after `updates` earlier ones: min(decay, n / (9 + n)).

    The first steps would else be remembered for 1 / (1 - decay) steps. The rule of TensorFlow's
    `tf.train.ExponentialMovingAverage`, (1 + n) / (10 + n), one step later: the first average is the weights
    after the first step, whatever the variables held before it.
    """
    return min(decay, updates / (9 + updates))


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
        import keras
        import tensorflow as tf

        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is not within [0, 1)")
        self._decay = decay
        self._variables = [v for v in variables if not is_seed(v) and tf.as_dtype(v.dtype).is_floating]
        # Out of an array, since Keras would take a TensorFlow variable over as it is, and both would be one.
        self._averages = [keras.Variable(v.numpy(), trainable=False, dtype="float32") for v in self._variables]
        self._updates = keras.Variable(0, dtype="int64", trainable=False, name=UPDATES)

    @property
    def variables(self) -> list[Any]:
        """All Keras variables that this object remembers by."""
        return [*self._averages, self._updates]

    def update(self) -> None:
        """Move each average towards its weight: average += (1 - decay) · (weight - average)."""
        import tensorflow as tf

        count = tf.cast(self._updates.value, tf.float32)
        share = 1.0 - tf.minimum(self._decay, count / (9.0 + count))
        for average, variable in zip(self._averages, self._variables, strict=True):
            weight = tf.cast(variable.value, tf.float32)
            # The first one is taken as it is. Later, a frozen layer's average stays as it is to the bit.
            moved = average.value + share * (weight - average.value)
            average.assign(tf.where(count > 0, moved, weight))
        self._updates.assign_add(1)

    def restart(self) -> None:
        """Forget what was averaged so far: the next update takes the weights as they are."""
        self._updates.assign(0)

    @contextmanager
    def in_place(self, *, keep: bool = False) -> Iterator[None]:
        """The model holds the averages within the block, and its own weights again after it.

        keep: what the block changes in the model, as statistics computed anew, is the average from then on.
        """
        import tensorflow as tf

        own = [tf.identity(variable.value) for variable in self._variables]
        for variable, average in zip(self._variables, self._averages, strict=True):
            variable.assign(average.value)
        try:
            yield
            if keep:
                for average, variable in zip(self._averages, self._variables, strict=True):
                    average.assign(variable.value)
        finally:
            for variable, value in zip(self._variables, own, strict=True):
                variable.assign(value)

    def files(self, weights: Mapping[str, Any], optimizer: Mapping[str, Any]) -> tuple[Variables, Variables]:
        """Which variables a checkpoint's two files hold under which names, given those of the model alone."""
        averages = dict(zip(named(self._variables), self._averages, strict=True))
        running = {f"{RUNNING}{name}": weights[name] for name in averages}
        return {**weights, **averages}, {**optimizer, **running, UPDATES: self._updates}
