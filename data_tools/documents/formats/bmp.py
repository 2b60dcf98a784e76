"""BMP images whose header gives a bit mask for each color (BITFIELDS), read by these masks."""

import struct

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats.page_error import Pixels
from data_tools.documents.opencv import MAX_PIXELS

Content = bytes | bytearray

_WITHOUT_ALPHA = (40, 52)
_HEADERS = (*_WITHOUT_ALPHA, 56, 108, 124)
_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
_BGRX = (0xFF0000, 0xFF00, 0xFF)


def masks(content: Content) -> tuple[int, int, int] | None:
    """The masks of red, green and blue in 16- or 32-bit pixels; None for other BMP images."""
    if len(content) < 66:
        return None
    header, bits, compression = *struct.unpack_from("<I", content, 14), *struct.unpack_from("<HI", content, 28)
    if header not in _HEADERS or bits not in (16, 32) or compression not in (_BITFIELDS, _ALPHA_BITFIELDS):
        return None
    # They follow a header of 40 bytes and are part of longer ones.
    red, green, blue = struct.unpack_from("<III", content, 54)
    return red, green, blue


def misread(content: Content) -> bool:
    """Whether OpenCV 5.0 returns other colors: it knows the masks of 32-bit pixels only in headers that have alpha."""
    bits = struct.unpack_from("<H", content, 28)[0] if len(content) >= 30 else 0
    header = struct.unpack_from("<I", content, 14)[0] if bits == 32 else 0
    return header in _WITHOUT_ALPHA and masks(content) not in (None, _BGRX)


def by_masks(content: Content) -> Pixels | None:
    """The image as RGB, uint8 [h, w, 3]; None if it has no usable masks, or ends early."""
    colors = masks(content)
    if colors is None:
        return None
    start, width, height = *struct.unpack_from("<I", content, 10), *struct.unpack_from("<ii", content, 18)
    size, rows = struct.unpack_from("<H", content, 28)[0] // 8, abs(height)
    if not all(_contiguous(mask) and mask < 2 ** (8 * size) for mask in colors):
        return None
    stride = -(-width * size // 4) * 4
    if not 0 < width * rows <= MAX_PIXELS or start + rows * stride > len(content):
        return None
    pixels = np.frombuffer(content, f"<u{size}", rows * stride // size, start).reshape(rows, -1)[:, :width]
    page = np.stack([_levels(pixels, mask) for mask in colors], axis=2)
    # A negative height says that the first row is the top one.
    return page if height < 0 else np.ascontiguousarray(page[::-1])


def _contiguous(mask: int) -> bool:
    top = mask // (mask & -mask) if mask else 0
    return top & (top + 1) == 0


def _levels(pixels: NDArray[np.unsignedinteger], mask: int) -> Pixels:
    """One color of `pixels` as uint8."""
    lowest = mask & -mask
    if not lowest:
        return np.zeros(pixels.shape, np.uint8)
    top = mask // lowest
    values = (pixels & mask).astype(np.uint64) // np.uint64(lowest)
    return np.asarray((values * np.uint64(255) + np.uint64(top // 2)) // np.uint64(top), np.uint8)
