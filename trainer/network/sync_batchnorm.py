"""Synchronized BatchNorm: moments of the global batch instead of each worker's share."""

from typing import Any

from trainer.network.classifier import Classifier
from trainer.world import World


def synchronize_batchnorm(classifier: Classifier, world: World) -> None:
    """Make every BatchNorm layer of the backbone normalize by the moments of the global batch.

    Each rank averages mean and variance of its pages over all ranks, which hold equally many pages; the gradient is
    averaged the same way. `keras.layers.BatchNormalization(synchronized=True)` uses `tf.distribute`, which does not
    know Horovod's ranks.
    """
    import keras

    if world.size == 1:
        return
    for layer in classifier.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # A private Keras method, the only place that computes a layer's moments; listed in docs/training.md.
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

        del mask  # pages have no mask
        mean, variance = tf.nn.moments(inputs, self._axes)
        # E[x²] - E[x]² loses digits if the mean is large, unless it is computed about a shift near the mean, such as
        # the moving mean, which is the same on all ranks.
        shift = tf.stop_gradient(tf.cast(self._shift.value, mean.dtype))
        sums = tf.stack([mean, variance + tf.square(mean - shift)])
        mean, squares = tf.unstack(self._world.average_in_order(sums, name=self._name))
        return mean, squares - tf.square(mean - shift)
