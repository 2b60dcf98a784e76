"""BatchNorm by the moments of the whole global batch instead of each worker's share of it."""

from typing import Any

from trainer.network.classifier import Classifier
from trainer.world import World


def synchronize(classifier: Classifier, world: World) -> None:
    """Let every BatchNorm layer of the backbone normalise by the moments of the whole global batch.

    Each rank averages mean and variance of its own pages over all ranks, which hold equally many; the gradient
    flows back the same way. `keras.layers.BatchNormalization(synchronized=True)` asks `tf.distribute` for it, which
    knows nothing of Horovod's ranks.
    """
    import keras

    if world.size == 1:
        return
    for layer in classifier.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Keras computes a layer's moments in this one method; set on the instance, it stands before the class'.
            layer._moments = _Moments(layer, world)


class _Moments:
    """Mean and variance of a BatchNorm layer's input over all ranks, float32 [channels] each."""

    def __init__(self, layer: Any, world: World) -> None:
        self._axes = list(layer._reduction_axes)
        self._shift = layer.moving_mean
        self._name = f"moments.{layer.name}"
        self._world = world

    def __call__(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        del mask  # pages have none
        mean, variance = tf.nn.moments(inputs, self._axes)
        # E[x²] - E[x]² loses digits where the mean is large; about a shift that is near the mean, it does not. The
        # moving mean is one, and the same on all ranks.
        shift = tf.stop_gradient(tf.cast(self._shift.value, mean.dtype))
        sums = tf.stack([mean, variance + tf.square(mean - shift)])
        mean, squares = tf.unstack(self._world.average_in_order(sums, name=self._name))
        return mean, squares - tf.square(mean - shift)
