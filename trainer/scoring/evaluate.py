"""Softmax outputs of every example, each exactly once, for any number of workers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from data_tools.shards.reader import EvalBatches, ShardSet
from data_tools.shards.tensors import as_tensor
from trainer.network.classifier import Classifier
from trainer.world import World


class Evaluator:
    """Runs a classifier over shard sets, split over the ranks of a world."""

    def __init__(self, classifier: Classifier, world: World, *, batch: int) -> None:
        import tensorflow as tf

        self._world = world
        self._batch = batch
        model = classifier.model
        self._forward: Any = tf.function(lambda images: model(images, training=False), autograph=False)

    def softmax(self, shards: ShardSet, *, on_batch: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """float32 [examples, classes], in the order of the shard set; the same bits for any number of ranks.

        on_batch: called with the number of finished batches, which is the same on every rank.

        Raises:
            ValueError: an example is missing or repeated in the gathered outputs.
        """
        rows, places = [], []
        with EvalBatches(shards, batch=self._batch, rank=self._world.rank, size=self._world.size) as batches:
            for number, batch in enumerate(batches, start=1):
                output = self._forward(as_tensor(batch.images)).numpy()
                rows.append(output[batch.mask])
                places.append(batch.positions[batch.mask])
                on_batch(number)
        positions = self._world.gather(np.concatenate(places), name="positions")
        outputs = self._world.gather(np.concatenate(rows), name="softmax")
        return in_order(positions, outputs, count=len(shards))


def in_order(positions: np.ndarray, outputs: np.ndarray, *, count: int) -> np.ndarray:
    """Rows of `outputs` [count, C] sorted by `positions` int[count], a permutation of 0..count-1.

    Raises:
        ValueError: a position is missing or repeated; figures over such rows would be wrong.
    """
    order = np.argsort(positions, kind="stable")
    if not np.array_equal(positions[order], np.arange(count)):
        raise ValueError(f"{len(positions)} predictions do not cover each of {count} examples once")
    return outputs[order]
