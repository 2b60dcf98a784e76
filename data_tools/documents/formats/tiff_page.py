"""TIFF pages that OpenCV misreads or does not read, from its deep samples or by the specification."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats import alpha, tiff, tiff_parts, tiff_samples
from data_tools.documents.formats.imdecode import imdecode
from data_tools.documents.formats.page_error import Pixels, damaged
from data_tools.documents.formats.scaled import scaled
from data_tools.documents.opencv import cv2

Content = bytes | bytearray

WHITE_IS_ZERO = 0
"""Photometric interpretation of a page whose largest value is black."""
_OPAQUE = 255
_OLD_JPEG = 6
_MIRRORED = frozenset({2, 3, 6, 7})
"""Orientations whose rows as stored start at the right or end at the top."""


def misread(directory: tiff.Directory) -> bool:
    """Whether OpenCV 5.0 returns another page than the file holds, for gray or color.

    It ignores errors of compressions that libtiff lacks and of palettes that are cut, takes signed samples as unsigned,
    drops alpha beside one gray sample, and shifts the rows of 16-bit gray where the last tiles are partial.
    """
    partial = directory.tiled and directory.tile[0] and directory.width % directory.tile[0]
    return bool(
        directory.cut
        or directory.compression not in tiff.READ_COMPRESSIONS
        or directory.sample_format == tiff.INT
        or (directory.alpha is not None and directory.samples == 2)
        or (partial and directory.bits == 16 and directory.samples == 1)
    )


def mirrors_tiles(directory: tiff.Directory) -> bool:
    """Whether OpenCV 5.0 mirrors each tile in its place, and not the page."""
    return directory.tiled and directory.orientation in _MIRRORED


def checked(content: Content, directory: tiff.Directory, *, color: bool) -> Pixels | None:
    """A common page in a compression whose damage OpenCV hides, as OpenCV reads it; None for other pages.

    The others are intact, or of a kind that is not checked; OpenCV decompresses them a second time. RGB in gray is one
    of them, since OpenCV's conversion is not the one of `cv2.cvtColor` to the bit.

    Raises:
        PageError: a strip or a tile is damaged.
    """
    if not tiff_parts.damage_hidden(directory):
        return None
    gray = directory.samples == 1 and directory.bits in (1, 8)
    rgb = color and directory.photometric == tiff.RGB and directory.samples == 3 and directory.bits == 8
    if (gray or rgb) and directory.sample_format == tiff.UINT and tiff_samples.readable(directory):
        page = by_specification(content, directory)
        if page is None:
            raise damaged("TIFF")
        return page
    if not tiff_parts.intact(content, directory):
        raise damaged("TIFF")
    return None


def deep_page(content: Content, directory: tiff.Directory) -> Pixels | None:
    """A TIFF page, uint8 [h, w(, 3)], with deep samples or alpha, which Pillow lacks or misreads; None for others.

    Raises:
        PageError: the file is truncated.
    """
    if directory.truncated(len(content)):
        raise damaged("TIFF")
    deep = directory.bits > 8 or directory.sample_format == tiff.INT
    if deep or directory.alpha is not None:
        page = by_specification(content, directory)
        if page is not None:
            return page
    if deep and directory.alpha is None:
        samples = imdecode(content, "TIFF", cv2.IMREAD_UNCHANGED)
        if samples is not None and samples.size:
            page = scaled(samples, inverted=directory.photometric == WHITE_IS_ZERO)
            if page.ndim == 3:
                page = np.ascontiguousarray(page[:, :, 2::-1] if page.shape[2] > 2 else page[:, :, 0])
            return page
    return None


def by_specification(content: Content, directory: tiff.Directory) -> Pixels | None:
    """A TIFF page from its samples: uint8 [h, w(, 3)], over white paper, upright; None if that is not possible."""
    if not tiff_samples.readable(directory):
        return None
    samples = tiff_samples.read(content, directory)
    if samples is None:
        return None
    count = tiff_samples.colors(directory)
    levels = _levels(samples[:, :, :count], directory)
    page = _rgb(levels, directory)
    if directory.alpha is not None:
        opacity = _levels(samples[:, :, count + directory.extra.index(directory.alpha)], directory)
        if opacity.min() < _OPAQUE:
            page = alpha.on_white(page, opacity, premultiplied=directory.alpha == tiff.ASSOCIATED)
    if directory.orientation == 1:
        return page
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    return pillow.oriented(page, directory.orientation)


def last_sample(content: Content, directory: tiff.Directory) -> Pixels | None:
    """The last sample of each pixel, uint8 [h, w], upright; None if it cannot be read."""
    opacity = alpha.alpha_plane(content, "TIFF", directory)
    if opacity is not None and opacity.dtype == np.uint8:
        return np.asarray(opacity, np.uint8)
    samples = tiff_samples.read(content, directory) if tiff_samples.readable(directory) else None
    if samples is None:
        return None
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    return pillow.oriented(_levels(samples[:, :, -1], directory), directory.orientation)


def _levels(samples: NDArray[Any], directory: tiff.Directory) -> Pixels:
    """Samples of any depth as uint8: unsigned ones by the top of their depth, others as `scaled`."""
    if directory.sample_format == tiff.UINT and directory.bits < 32:
        if directory.bits == 8:
            return np.asarray(samples, np.uint8)
        if directory.bits == 1:
            return np.asarray(samples * np.uint8(255), np.uint8)
        if directory.bits < 8:
            return np.asarray(samples.astype(np.uint16) * 255 // (2**directory.bits - 1), np.uint8)
        # As OpenCV.
        return np.asarray(samples >> (directory.bits - 8), np.uint8)
    return scaled(samples, inverted=False)


def _rgb(levels: Pixels, directory: tiff.Directory) -> Pixels:
    """Gray [h, w], or RGB [h, w, 3], of color samples [h, w, c]."""
    if levels.shape[2] == 1:
        gray = np.ascontiguousarray(levels[:, :, 0])
        return np.asarray(255 - gray, np.uint8) if directory.photometric == WHITE_IS_ZERO else gray
    if levels.shape[2] == 4:
        light = (255 - levels[:, :, :3].astype(np.uint16)) * (255 - levels[:, :, 3:].astype(np.uint16))
        return np.asarray((light + 127) // 255, np.uint8)
    return np.ascontiguousarray(levels)


def jpeg_stream(content: Content, directory: tiff.Directory) -> bytes | None:
    """The complete JPEG file inside an old-style JPEG TIFF (TIFF 6.0, section 22); None if there is none."""
    if directory.compression != _OLD_JPEG:
        return None
    places = [directory.jpeg] if directory.jpeg else []
    places += directory.parts if len(directory.parts) == 1 else []
    for start, length in places:
        stream = bytes(content[start : start + length] if length else content[start:])
        if stream[:3] == b"\xff\xd8\xff":
            return stream
    return None
