"""Features of pages that no label of the run has touched: those of the start weights, in a middle layer.

Outputs and features of a run's own models follow the labels that they were trained on, wrong ones too: on real pages
they hide half of the planted errors. The start weights know no label of the run, so a regression on their features
that leaves out the page is a fair judge (docs/wrong_labels.md has the figures).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.shards.reader import EvalBatches, ShardSet
from data_tools.shards.tensors import as_tensor
from trainer.config import ModelConfig
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.weights import load_backbone

Features = npt.NDArray[np.float32]

CELL_PX = 20
"""Largest part of the input, px, that one cell of the chosen layer stands for: a layer at about a 16th."""
LAST_LAYERS = 24
"""Layers at that scale, from the last one back, of which the widest is chosen."""
GRID = 4
"""The layer's cells are averaged over a grid of so many parts of the page a side, which keeps where things are."""
DIMENSIONS = 512
"""Principal components that are kept."""
SAMPLE = 2048
"""Training pages, at most, that the components are computed from."""
BATCH = 64
"""Pages that are computed at once."""


@dataclass(frozen=True, eq=False)
class Projection:
    """A standardization and the leading principal components: float32 [n, raw] -> float32 [n, d]."""

    mean: Features
    basis: Features

    def of(self, raw: Features) -> Features:
        """The components of `raw`, of mean square 1 over the pages that they were computed from."""
        return np.asarray((raw - self.mean) @ self.basis, np.float32)


def projection(raw: Features, *, dimensions: int = DIMENSIONS) -> Projection:
    """The standardization and principal components of float32 [n, raw]; at most n - 1 of them.

    Computed from the inner products of the pages, since there are far fewer pages in a sample than values of a page.
    """
    mean = raw.mean(axis=0)
    scale = 1.0 / (raw.std(axis=0) + 1e-6)
    standard = (raw - mean) * scale
    values, vectors = np.linalg.eigh((standard @ standard.T).astype(np.float64))
    leading = np.argsort(-values, kind="stable")[: max(1, min(dimensions, len(raw) - 1))]
    kept = leading[values[leading] > values.max() * 1e-9] if values.max() > 0 else leading[:1]
    directions = vectors[:, kept] / np.sqrt(np.maximum(values[kept], 1e-12))
    # One scale for all components: the leading ones stay larger.
    common = np.sqrt(len(kept) * len(raw) / max(float(values[kept].sum()), 1e-12))
    basis = scale[:, None] * (standard.T @ directions.astype(np.float32)) * np.float32(common)
    return Projection(mean, np.asarray(basis, np.float32))


class PageFeatures:
    """Computes features of stored whole pages with the backbone's start weights."""

    def __init__(self, config: ModelConfig, geometry: Geometry, weights: Path | None) -> None:
        """Build the network. weights: file of the backbone; None: as initialized, which is a weaker judge.

        Raises:
            UserError: the weights do not fit the backbone, or the geometry does not.
        """
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(1)
        classifier = build_classifier(config, geometry, classes=2)
        if weights is not None:
            load_backbone(classifier.backbone, weights)
        backbone = classifier.backbone
        prepare = classifier.preprocessing
        layer = keras.Model(backbone.input, _middle(backbone, geometry.size[0]).output)
        self._forward: Any = tf.function(lambda images: pooled(layer(prepare(images), training=False)), autograph=False)

    def raw(self, images: npt.NDArray[np.uint8]) -> Features:
        """float32 [n, GRID * GRID * channels] of pages uint8 [n, height, width, channels]."""
        return np.asarray(self._forward(as_tensor(images)).numpy())

    def of_shards(
        self, shards: ShardSet, project: Projection, *, on_pages: Callable[[int], None] = lambda _: None
    ) -> Features:
        """float32 [n, d] of all pages of a set, in its order. on_pages: called with the pages done so far."""
        rows: list[Features] = []
        done = 0
        with EvalBatches(shards, batch=BATCH) as batches:
            for batch in batches:
                rows.append(project.of(self.raw(batch.images)[batch.mask]))
                done += int(batch.mask.sum())
                on_pages(done)
        return np.concatenate(rows) if rows else np.zeros((0, project.basis.shape[1]), np.float32)

    def fitted_projection(self, shards: ShardSet) -> Projection:
        """The projection for pages like those of `shards`, from a sample spread evenly over the set."""
        rows = np.unique(np.linspace(0, len(shards) - 1, min(len(shards), SAMPLE)).astype(np.int64))
        parts = [self.raw(shards.gather(rows[first : first + BATCH])) for first in range(0, len(rows), BATCH)]
        return projection(np.concatenate(parts))


def _middle(backbone: Any, height: int) -> Any:
    """The widest of the last layers of the backbone whose cells stand for at most CELL_PX of its input.

    Several, since the very last ones may be a narrow branch of the next stage. Of equal widths the last counts.
    """
    found = [layer for layer in backbone.layers if _cells(layer) * CELL_PX >= height]
    last = (found or backbone.layers)[-LAST_LAYERS:]
    return max(enumerate(last), key=lambda item: (item[1].output.shape[-1], item[0]))[1]


def _cells(layer: Any) -> int:
    """Cells of the layer's output from top to bottom; 0 for a layer that has none, or only moves cells."""
    shape: Any = getattr(layer.output, "shape", ())
    moves = type(layer).__name__ in ("InputLayer", "ZeroPadding2D", "Cropping2D")
    return 0 if moves or len(shape) != 4 or shape[1] is None else int(shape[1])


def pooled(cells: Any) -> Any:
    """Means over a grid of GRID x GRID parts: [n, h, w, c] -> [n, GRID * GRID * c]; fewer where h or w is smaller."""
    import tensorflow as tf

    height, width, channels = (int(size) for size in cells.shape[1:])
    rows, columns = (tf.constant(_averaging(size)) for size in (height, width))
    parts = tf.einsum("gh,nhwc,kw->ngkc", rows, tf.cast(cells, tf.float32), columns)
    return tf.reshape(parts, [-1, rows.shape[0] * columns.shape[0] * channels])


def _averaging(size: int) -> Features:
    """Matrix float32 [parts, size] whose rows average over consecutive parts of nearly equal length."""
    parts = np.array_split(np.arange(size), min(GRID, size))
    matrix = np.zeros((len(parts), size), np.float32)
    for row, part in enumerate(parts):
        matrix[row, part] = 1 / len(part)
    return matrix
