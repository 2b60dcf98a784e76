"""The samples of a TIFF page by its specification, for layouts that no decoder reads, such as 16-bit gray with alpha.

Strips and tiles, chunky and planar, any depth, in the compressions of `tiff_parts`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats import tiff_parts
from data_tools.documents.formats.tiff import FLOAT, INT, UINT, Content, Directory
from data_tools.documents.opencv import MAX_PIXELS, cv2

_COLORS = {0: 1, 1: 1, 2: 3, 5: 4}
"""Color samples by photometric interpretation: gray, RGB, CMYK."""
_HORIZONTAL, _FLOATING_POINT = 2, 3
"""Predictors."""


def readable(directory: Directory) -> bool:
    """Whether `read` knows this kind of page."""
    return (
        tiff_parts.readable(directory)
        and directory.photometric in _COLORS
        and _known_samples(directory)
        and _COLORS[directory.photometric] + _extra(directory) <= directory.samples
        and directory.width * directory.height <= MAX_PIXELS // directory.samples
    )


def _extra(directory: Directory) -> int:
    """Samples after the colors up to that of alpha."""
    return 0 if directory.alpha is None else directory.extra.index(directory.alpha) + 1


def _known_samples(directory: Directory) -> bool:
    bits, form = directory.bits, directory.sample_format
    if bits not in (8, 16, 32, 64):
        return 1 <= bits < 64 and form == UINT and directory.predictor == 1
    if form == FLOAT:
        return bits > 8 and directory.predictor in (1, _FLOATING_POINT)
    return form in (UINT, INT) and directory.predictor in (1, _HORIZONTAL)


def read(content: Content, directory: Directory) -> NDArray[Any] | None:
    """All samples of a page, [h, w, samples], in a dtype of at least their depth; None if the file is damaged."""
    planes = []
    for number in range(tiff_parts.grid(directory).planes):
        packed = tiff_parts.plane(content, directory, number)
        if packed is None:
            return None
        planes.append(_plane(packed, directory))
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)


def _plane(packed: NDArray[np.uint8], directory: Directory) -> NDArray[Any]:
    """The samples of one plane, [h, w, samples], from its parts, [rows, bytes]."""
    parts = tiff_parts.grid(directory)
    values = _values(packed, directory, (len(packed), parts.columns, parts.samples))
    if not directory.tiled:
        return values
    tiles = values.reshape(parts.down, parts.across, parts.rows, parts.columns, parts.samples)
    page = tiles.swapaxes(1, 2).reshape(parts.down * parts.rows, -1, parts.samples)
    return page[: directory.height, : directory.width]


def _values(packed: NDArray[np.uint8], directory: Directory, shape: tuple[int, int, int]) -> NDArray[Any]:
    rows, columns, samples = shape
    bits, dtype = directory.bits, _dtype(directory)
    if directory.predictor == _FLOATING_POINT:
        return _undifferenced(packed, dtype, shape)
    if bits in (8, 16, 32, 64):
        values = packed.view(dtype).reshape(shape)
        values = values.astype(dtype.newbyteorder("="), copy=False)
        if directory.predictor == _HORIZONTAL:
            _sum(values)
        return values
    unpacked = np.unpackbits(packed, axis=1, count=columns * samples * bits)
    if bits == 1:
        return unpacked.reshape(shape)
    places = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint64)
    values = (unpacked.reshape(rows, -1, bits) * places).sum(axis=2)
    return values.astype(dtype.newbyteorder("=")).reshape(shape)


_BAND, _BLOCK = 2**17, 16
"""Samples and columns that `_sum` adds at once."""


def _sum(steps: NDArray[Any]) -> None:
    """Replace each row of `steps` [h, w, samples] by its running sums, which undoes the horizontal predictor.

    As np.cumsum, which takes several times as long for bytes: here, the columns of all blocks are added as rows.
    """
    if steps.dtype.itemsize > 2:
        np.cumsum(steps, axis=1, out=steps)
        return
    rows = max(1, _BAND // (steps.shape[1] * steps.shape[2]))
    for top in range(0, len(steps), rows):
        _sum_band(steps[top : top + rows])


def _sum_band(steps: NDArray[Any]) -> None:
    rows, columns, samples = steps.shape
    padded = np.zeros((rows, -(-columns // _BLOCK) * _BLOCK, samples), steps.dtype)
    padded[:, :columns] = steps
    sums = cv2.transpose(padded.reshape(-1, _BLOCK * samples)).reshape(_BLOCK, samples, rows, -1)
    for column in range(1, _BLOCK):
        sums[column] += sums[column - 1]
    sums[:, :, :, 1:] += np.cumsum(sums[-1, :, :, :-1], axis=2, dtype=steps.dtype)
    steps[:] = cv2.transpose(sums.reshape(_BLOCK * samples, -1)).reshape(padded.shape)[:, :columns]


def _dtype(directory: Directory) -> np.dtype[Any]:
    size = 1 if directory.bits <= 8 else 2 if directory.bits <= 16 else 4 if directory.bits <= 32 else 8
    kind = "f" if directory.sample_format == FLOAT else "i" if directory.sample_format == INT else "u"
    return np.dtype(f"{directory.order}{kind}{size}")


def _undifferenced(packed: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Floating-point values of rows whose bytes are grouped by significance and differenced (TIFF Technical Note 3)."""
    rows, _, samples = shape
    sums = np.cumsum(packed.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
    values = np.ascontiguousarray(sums.reshape(rows, dtype.itemsize, -1).swapaxes(1, 2))
    # The most significant bytes come first, whatever the file's byte order.
    return values.view(dtype.newbyteorder(">")).astype(dtype.newbyteorder("=")).reshape(shape)


def colors(directory: Directory) -> int:
    """Number of samples that are colors; the others are extra ones."""
    return _COLORS[directory.photometric]
