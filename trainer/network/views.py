"""Test-time augmentation: a model that averages over shifted and scaled views of each page.

The average is over log-probabilities: the normalized geometric mean, whose logits are the mean of the views' logits.
The views are functions of the page alone, so outputs are as deterministic as without them.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from data_tools.shards.augment.change import PAPER
from trainer.config import ViewsConfig
from trainer.network.area import Bands, weighted_sum
from trainer.network.classifier import Classifier


class View(NamedTuple):
    """A page shifted down and to the right, px, and enlarged around its middle by a factor."""

    down: int = 0
    right: int = 0
    zoom: float = 1.0


def plan_views(config: ViewsConfig, height: int, width: int) -> list[View]:
    """The views of a stored page of `height` x `width` px, the page itself first."""
    views = [View()]
    if config.shift:
        down, right = (max(1, round(config.shift * length)) for length in (height, width))
        views += [View(down=-down), View(down=down), View(right=-right), View(right=right)]
    if config.scale:
        views += [View(zoom=1 - config.scale), View(zoom=1 + config.scale)]
    return views


def axis_bands(length: int, shift: int, zoom: float) -> Bands:
    """The pixels of one axis that those of a view are read from, by linear interpolation; none beyond the edges."""
    middle = (length - 1) / 2
    source = (np.arange(length) - middle - shift) / zoom + middle
    lower = np.floor(source)
    positions = np.stack([lower, lower + 1]).astype(np.int64)
    weights = np.stack([1 - (source - lower), source - lower])
    weights[(positions < 0) | (positions >= length)] = 0
    used = weights.any(axis=1)  # a shift by pixels needs no second one
    return Bands(np.clip(positions, 0, length - 1)[used].astype(np.int32), weights[used].astype(np.float32))


def with_views(classifier: Classifier, config: ViewsConfig) -> Classifier:
    """The classifier with a `model` that averages over the views of each page; itself if there is one view alone.

    The views of a batch go through the network together, so it needs the memory of a batch that many times as large.
    """
    if config.count == 1:
        return classifier
    import keras

    ops, (height, width, channels) = keras.ops, classifier.model.input.shape[1:]
    inputs = keras.Input((height, width, channels), dtype="uint8", name="pages")
    levels = ops.cast(inputs, "float32")
    views = plan_views(config, height, width)
    pages = ops.concatenate([inputs, *(_seen(levels, view) for view in views[1:])], axis=0)
    logits = classifier.logits(pages)
    mean = ops.mean(ops.reshape(logits, (len(views), -1, logits.shape[-1])), axis=0)
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(mean)
    return replace(classifier, model=keras.Model(inputs, probabilities, name="page_views"))


def _seen(levels: Any, view: View) -> Any:
    """One view of pages float32 [b, h, w, c] as uint8, paper beyond the edges, as in training's augmentation."""
    import keras

    for axis, shift in ((1, view.down), (2, view.right)):
        band = axis_bands(levels.shape[axis], shift, view.zoom)
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        paper = PAPER * (1 - band.weights.sum(axis=0)).reshape(shape)
        levels = weighted_sum(levels, band, axis=axis) + paper
    return keras.ops.cast(keras.ops.clip(keras.ops.round(levels), 0, PAPER), "uint8")
