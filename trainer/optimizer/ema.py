"""Exponential moving average (EMA) of the weights: smoother than the weights of the last step.

With EMA on, the averages are the job's weights for everything but the optimizer: they are evaluated, select the best
epoch and fill a checkpoint's weight file. The weights that training continues with are stored beside the optimizer's
variables.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trainer.network.weights import is_seed, named

Variables = dict[str, Any]

RUNNING = "running/"
"""Prefix, in a checkpoint's optimizer file, of the weights that training continues with."""
UPDATES = "average_updates"
"""Name in that file of the number of updates of the averages."""


def effective_decay(decay: float, updates: int) -> float:
    """The decay of the update that follows `updates` earlier ones: min(decay, n / (9 + n)).

    Without it, the average would hold the first weights for some 1 / (1 - decay) steps. It is the rule of
    `tf.train.ExponentialMovingAverage`, (1 + n) / (10 + n), one step later: the first average is the weights after
    the first step, whatever the variables held before.
    """
    return min(decay, updates / (9 + updates))


class WeightEma:
    """A float32 average beside each weight of a model; call `update` after each step, in its `tf.function`.

    BatchNorm's statistics are averaged like the weights. All ranks hold the same weights after every step, and
    therefore the same averages without communication.
    """

    def __init__(self, variables: Sequence[Any], *, decay: float) -> None:
        """variables: Keras variables of one model; random generators among them are left out.

        Raises:
            ValueError: `decay` is not in [0, 1).
        """
        import keras
        import tensorflow as tf

        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is not in [0, 1)")
        self._decay = decay
        self._variables = [v for v in variables if not is_seed(v) and tf.as_dtype(v.dtype).is_floating]
        # From an array: Keras would adopt a TensorFlow variable, and average and weight would be one variable.
        self._averages = [keras.Variable(v.numpy(), trainable=False, dtype="float32") for v in self._variables]
        self._updates = keras.Variable(0, dtype="int64", trainable=False, name=UPDATES)

    @property
    def variables(self) -> list[Any]:
        """The Keras variables of this object: the averages, then the number of updates (int64)."""
        return [*self._averages, self._updates]

    def update(self) -> None:
        """Move each average towards its weight: average += (1 - decay) · (weight - average)."""
        import tensorflow as tf

        count = tf.cast(self._updates.value, tf.float32)
        share = 1.0 - tf.minimum(self._decay, count / (9.0 + count))
        for average, variable in zip(self._averages, self._variables, strict=True):
            weight = tf.cast(variable.value, tf.float32)
            # The first update copies the weight. In later ones the average of a frozen layer keeps its bits.
            moved = average.value + share * (weight - average.value)
            average.assign(tf.where(count > 0, moved, weight))
        self._updates.assign_add(1)

    def restart(self) -> None:
        """Discard the averages: the next update copies the weights."""
        self._updates.assign(0)

    @contextmanager
    def swapped_in(self, *, keep: bool = False) -> Iterator[None]:
        """Context in which the model holds the averages; it holds its own weights again afterwards.

        keep: changes of the model within the context, such as recomputed statistics, become the averages.
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
        """The variables of a checkpoint's two files by name; arguments: those of the model without EMA."""
        averages = dict(zip(named(self._variables), self._averages, strict=True))
        running = {f"{RUNNING}{name}": weights[name] for name in averages}
        return {**weights, **averages}, {**optimizer, **running, UPDATES: self._updates}
