"""The samples of a TIFF page by its specification, for layouts that no decoder reads, such as 16-bit gray with alpha.

Pure NumPy: strips and tiles, chunky and planar, any depth, without compression, deflate or PackBits.
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats.tiff import FLOAT, INT, UINT, Content, Directory
from data_tools.documents.opencv import MAX_PIXELS

_NONE, _DEFLATE, _PACKBITS = frozenset({1}), frozenset({8, 32946}), frozenset({32773})
_COLORS = {0: 1, 1: 1, 2: 3, 5: 4}
"""Color samples by photometric interpretation: gray, RGB, CMYK."""


def readable(directory: Directory) -> bool:
    """Whether `read` knows this kind of page."""
    known = directory.compression in _NONE | _DEFLATE | _PACKBITS and directory.photometric in _COLORS
    return (
        known
        and directory.fill_order == 1
        and _known_samples(directory)
        and _COLORS[directory.photometric] + _extra(directory) <= directory.samples <= 16
        and 0 < directory.width * directory.height <= MAX_PIXELS // directory.samples
    )


def _extra(directory: Directory) -> int:
    """Samples after the colors up to that of alpha."""
    return 0 if directory.alpha is None else directory.extra.index(directory.alpha) + 1


def _known_samples(directory: Directory) -> bool:
    bits, form = directory.bits, directory.sample_format
    if bits not in (8, 16, 32, 64):
        return 1 <= bits < 64 and form == UINT and directory.predictor == 1
    if form == FLOAT:
        return bits > 8 and directory.predictor == 1
    return form in (UINT, INT) and directory.predictor in (1, 2)


def read(content: Content, directory: Directory) -> NDArray[Any] | None:
    """All samples of a page, [h, w, samples], in a dtype of at least their depth; None if the file is damaged."""
    width, height = directory.width, directory.height
    part_width = directory.tile[0] if directory.tiled else width
    part_height = directory.tile[1] if directory.tiled else min(directory.rows, height)
    planes = directory.samples if directory.planar else 1
    each = 1 if directory.planar else directory.samples
    across, down = -(-width // max(part_width, 1)), -(-height // max(part_height, 1))
    if len(directory.parts) != across * down * planes:
        return None
    page = np.zeros((height, width, directory.samples), _dtype(directory).newbyteorder("="))
    for place, (offset, length) in enumerate(directory.parts):
        plane, (row, column) = place // (across * down), divmod(place % (across * down), across)
        rows = part_height if directory.tiled else min(part_height, height - row * part_height)
        part = _part(bytes(content[offset : offset + length]), directory, (rows, part_width, each))
        if part is None:
            return None
        top, left = row * part_height, column * part_width
        inner = part[: height - top, : width - left]
        first = plane if directory.planar else 0
        page[top : top + rows, left : left + part_width, first : first + each] = inner
    return page


def _dtype(directory: Directory) -> np.dtype[Any]:
    size = 1 if directory.bits <= 8 else 2 if directory.bits <= 16 else 4 if directory.bits <= 32 else 8
    kind = "f" if directory.sample_format == FLOAT else "i" if directory.sample_format == INT else "u"
    return np.dtype(f"{directory.order}{kind}{size}")


def _part(raw: bytes, directory: Directory, shape: tuple[int, int, int]) -> NDArray[Any] | None:
    """One strip or tile of (rows, columns, samples); None if it is short."""
    rows, columns, samples = shape
    row_bytes = -(-columns * samples * directory.bits // 8)
    if directory.compression in _DEFLATE:
        raw = _inflated(raw, rows * row_bytes)
    elif directory.compression in _PACKBITS:
        raw = _unpacked(raw, rows * row_bytes)
    if len(raw) < rows * row_bytes:
        return None
    packed = np.frombuffer(raw, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    if directory.bits in (8, 16, 32, 64):
        values = packed.view(_dtype(directory)).reshape(shape)
    else:
        bits = np.unpackbits(packed, axis=1)[:, : columns * samples * directory.bits]
        places = 1 << np.arange(directory.bits - 1, -1, -1, dtype=np.uint64)
        values = (bits.reshape(rows, -1, directory.bits) * places).sum(axis=2).astype(_dtype(directory)).reshape(shape)
    values = values.astype(values.dtype.newbyteorder("="))
    return np.cumsum(values, axis=1, dtype=values.dtype) if directory.predictor == 2 else values


def _inflated(raw: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, size)
    except zlib.error:
        return b""


def _unpacked(raw: bytes, size: int) -> bytes:
    """PackBits (TIFF 6.0, section 9)."""
    out, place = bytearray(), 0
    while place < len(raw) and len(out) < size:
        head = raw[place]
        if head < 128:
            out += raw[place + 1 : place + 2 + head]
            place += 2 + head
        else:
            out += raw[place + 1 : place + 2] * (257 - head if head > 128 else 0)
            place += 2 if head > 128 else 1
    return bytes(out)


def colors(directory: Directory) -> int:
    """Number of samples that are colors; the others are extra ones."""
    return _COLORS[directory.photometric]
