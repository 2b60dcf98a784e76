"""BatchNorm's statistics for evaluation: those of training pages under the current weights.

The statistics that training steps move are averages over hundreds of steps, so they belong to earlier weights, and in
short runs to the initial ones: Keras' MobileNetV2 (momentum 0.999) classified 67 % of its training pages correctly
after 160 steps, but in evaluation no more than chance. Here they are recomputed before each evaluation ("precise BN",
Wu and Johnson 2021, arXiv 2105.07576, section 3).
"""

from collections.abc import Iterable
from typing import Any

from data_tools.shards.tensors import as_tensor
from trainer.network.classifier import Classifier
from trainer.world import World


def batchnorm_layers(classifier: Classifier) -> list[Any]:
    """The BatchNorm layers of the backbone that are not frozen."""
    import keras

    kind = keras.layers.BatchNormalization
    return [layer for layer in classifier.backbone.layers if isinstance(layer, kind) and layer.trainable]


def set_momentum(classifier: Classifier, momentum: float | None) -> None:
    """Set the momentum of every BatchNorm layer, unless it is None; call it before the model is traced."""
    for layer in batchnorm_layers(classifier) if momentum is not None else ():
        layer.momentum = momentum


class PreciseStatistics:
    """Recomputes the statistics of the BatchNorm layers that are not frozen at construction."""

    def __init__(self, classifier: Classifier, world: World) -> None:
        import keras
        import tensorflow as tf

        self._layers = batchnorm_layers(classifier)
        self._world = world
        self._model = keras.Model(classifier.model.input, classifier.model.get_layer("pool").output)
        self._batch: Any = tf.function(self._statistics, autograph=False)

    def _statistics(self, images: Any) -> list[Any]:
        """Means, then mean squares, of the input of each layer, float32 [channels]; images: uint8 [b, h, w, c]."""
        import tensorflow as tf

        own = [layer.momentum for layer in self._layers]
        for layer in self._layers:
            layer.momentum = 0.0  # read while tracing: the moving statistics become those of the batch
        try:
            with tf.control_dependencies([self._model(images, training=True)]):
                means = [tf.identity(layer.moving_mean.value) for layer in self._layers]
                variances = [tf.identity(layer.moving_variance.value) for layer in self._layers]
        finally:
            for layer, momentum in zip(self._layers, own, strict=True):
                layer.momentum = momentum
        return [*means, *(v + tf.square(m) for m, v in zip(means, variances, strict=True))]

    def update(self, batches: Iterable[Any]) -> None:
        """Set the statistics, identical on all ranks, to those of all ranks' batches together.

        batches: this rank's, uint8 [b, height, width, channels]. The variance is the mean square minus the square of
        the mean, over all pages.
        """
        import tensorflow as tf

        totals: list[Any] = []
        count = 0
        for images in batches if self._layers else ():
            found = self._batch(as_tensor(images))
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
            count += 1
        if not count:
            return
        averages = self._world.average([total / count for total in totals], name="precise_statistics")
        places = len(self._layers)
        for layer, mean, square in zip(self._layers, averages[:places], averages[places:], strict=True):
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(tf.maximum(square - tf.square(mean), 0.0))
