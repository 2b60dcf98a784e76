"""Reduction of stored pages by pixel area to any smaller height, as sums of weighted rows and columns.

A pixel of the reduced page is the mean of the area that it covers, as in OpenCV's INTER_AREA, in float32 and without
rounding to gray levels. Each covers only a few stored pixels, so a sum over those few is far cheaper than a product
with the matrix of weights, and, unlike a product on a GPU, it is never computed in TensorFloat-32.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Bands(NamedTuple):
    """The k non-zero weights of each of n reduced pixels: stored positions int32 [k, n], weights float32 [k, n]."""

    positions: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


def area_weights(stored: int, reduced: int) -> npt.NDArray[np.float64]:
    """Weights [reduced, stored] of the stored pixels of one axis in each reduced one; each row sums to 1.

    Reduced pixel i covers the stored interval [i, i + 1) · stored / reduced; a weight is the part of it in a pixel.
    """
    edges = np.arange(reduced + 1, dtype=np.int64) * stored  # in units of 1 / reduced of a stored pixel: integers
    starts, ends = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    pixels = np.arange(stored, dtype=np.int64) * reduced
    overlap = np.minimum(ends, pixels + reduced) - np.maximum(starts, pixels)
    return np.maximum(overlap, 0) / stored


def bands(weights: npt.NDArray[np.float64]) -> Bands:
    """The non-zero weights of each row of `area_weights`; rows with fewer than others are filled up with zeros."""
    first = np.argmax(weights > 0, axis=1)
    count = int(np.count_nonzero(weights, axis=1).max())
    positions = np.minimum(first + np.arange(count)[:, np.newaxis], weights.shape[1] - 1)
    chosen = np.take_along_axis(weights, positions.T, axis=1).T
    # A position that was cut to the last pixel would count it twice.
    chosen[first + np.arange(count)[:, np.newaxis] >= weights.shape[1]] = 0
    return Bands(positions.astype(np.int32), chosen.astype(np.float32))


def reduce_by_area(pages: Any, height: int, width: int) -> Any:
    """float32 [b, h, w, c], a Keras tensor, to [b, height, width, c]."""
    for axis, reduced in ((1, height), (2, width)):
        stored = pages.shape[axis]
        if reduced != stored:
            pages = weighted_sum(pages, bands(area_weights(stored, reduced)), axis=axis)
    return pages


def weighted_sum(pages: Any, band: Bands, *, axis: int) -> Any:
    """Replace the pixels of an axis of float32 [b, h, w, c], a Keras tensor, by the sums that `band` describes."""
    import keras

    shape = [1, 1, 1, 1]
    shape[axis] = -1
    total = None
    for positions, weights in zip(band.positions, band.weights, strict=True):
        part = keras.ops.take(pages, positions, axis=axis) * weights.reshape(shape)
        total = part if total is None else total + part
    return total
