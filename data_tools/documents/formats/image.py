"""The first image in a file's bytes as pixels: OpenCV, and Pillow where OpenCV does not read it.

What OpenCV reads keeps OpenCV's pixels to the bit; what is transparent lies on white paper.
"""

from dataclasses import replace

import numpy as np

from data_tools.documents.content import Content as Kind
from data_tools.documents.content import content_of
from data_tools.documents.formats import alpha, bmp, headers, tiff
from data_tools.documents.formats.imdecode import by_opencv
from data_tools.documents.formats.page_error import PageError, Pixels, damaged
from data_tools.documents.formats.scaled import scaled
from data_tools.documents.formats.tiff_page import (
    WHITE_IS_ZERO,
    by_specification,
    checked,
    deep_page,
    jpeg_stream,
    last_sample,
    mirrors_tiles,
    misread,
)
from data_tools.documents.opencv import cv2

Content = bytes | bytearray


def decode_image(content: Content, kind: str, *, color: bool) -> Pixels:
    """Decode the first image; uint8 [h, w], or [h, w, 3] as RGB with `color`.

    kind: its format, see `headers.image_format`.

    Raises:
        PageError: the decoders reject it; the reason names what they lack.
    """
    try:
        return _decoded(content, kind, color=color)
    except MemoryError:
        raise PageError(f"{kind} cannot be decoded: needs too much memory") from None


def _decoded(content: Content, kind: str, *, color: bool) -> Pixels:
    directory = tiff.directory(content) if kind == "TIFF" else None
    if directory is not None and mirrors_tiles(directory):
        from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

        page = _by_header(tiff.unturned(content), kind, replace(directory, orientation=1), color=color)
        return pillow.oriented(page, directory.orientation)
    return _by_header(content, kind, directory, color=color)


def _by_header(content: Content, kind: str, directory: tiff.Directory | None, *, color: bool) -> Pixels:
    """The image by the decoder that its header asks for."""
    if directory is not None and (found := checked(content, directory, color=color)) is not None:
        return _shaped(found, color=color)
    flag = cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE
    if (directory is not None and misread(directory)) or (kind == "BMP" and bmp.misread(content)):
        return _by_others(content, kind, directory, color=color)
    transparent = alpha.may_be_transparent(content, kind, directory)
    page = by_opencv(content, kind, flag | cv2.IMREAD_IGNORE_ORIENTATION if transparent else flag)
    if page is None:
        return _by_others(content, kind, directory, color=color)
    if transparent:
        page = alpha.composited(page, content, kind, directory=directory)
        return page if kind == "TIFF" else _turned(page, content, kind)
    if directory is not None and directory.undeclared_alpha and content_of(page) == "black":
        return alpha.rescued(page, last_sample(content, directory))
    return page


def _turned(page: Pixels, content: Content, kind: str) -> Pixels:
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    return pillow.turned(page, content, kind)


def _by_others(content: Content, kind: str, directory: tiff.Directory | None, *, color: bool) -> Pixels:
    """The page by OpenCV's deep samples, by Pillow, by its samples or color masks, or from an old-style JPEG stream."""
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    page = None if directory is None else deep_page(content, directory)
    if page is None:
        found = pillow.decode(content, kind)
        if found is not None and found.size:
            inverted = directory is not None and directory.photometric == WHITE_IS_ZERO and found.dtype != np.uint8
            page = _opaque(scaled(found, inverted=inverted), directory)
    if page is None and directory is not None:
        page = by_specification(content, directory)
    if page is None and kind == "BMP":
        page = bmp.by_masks(content)
    if page is not None:
        return _shaped(page, color=color)
    if directory is not None and (stream := jpeg_stream(content, directory)):
        page = by_opencv(stream, "JPEG", cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE)
        if page is not None:
            return pillow.oriented(page, directory.orientation)
    raise _why(content, kind, directory)


def second_opinion(content: Content, kind: str) -> Kind | None:
    """What Pillow finds in the colors of an image, without its transparency; None if it does not read it."""
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    page = pillow.decode(content, kind)
    if page is None or not page.size:
        return None
    colors = page[:, :, 0] if page.ndim == 3 and page.shape[2] == 2 else page[:, :, :3] if page.ndim == 3 else page
    return content_of(scaled(np.ascontiguousarray(colors), inverted=False))


def _opaque(page: Pixels, directory: tiff.Directory | None) -> Pixels:
    """`page` uint8 [h, w(, c)] of Pillow without its alpha channel, over white paper."""
    if page.ndim == 2 or page.shape[2] not in (2, 4):
        return page
    colors = np.ascontiguousarray(page[:, :, 0] if page.shape[2] == 2 else page[:, :, :3])
    # Pillow divides associated RGB by its opacity; gray stays premultiplied.
    premultiplied = directory is not None and directory.alpha == 1 and page.shape[2] == 2
    return alpha.on_white(colors, page[:, :, -1], premultiplied=premultiplied)


def _shaped(page: Pixels, *, color: bool) -> Pixels:
    """`page` uint8 [h, w(, 3)] in gray or in RGB, with OpenCV's conversion."""
    if page.ndim == 3:
        return page if color else np.asarray(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.asarray(cv2.cvtColor(page, cv2.COLOR_GRAY2RGB), np.uint8) if color else page


_COMMON = frozenset({0, 1, 2, 3, 5, 6})
"""Photometric interpretations of gray, RGB, palette, CMYK and YCbCr, which the decoders read."""


def _why(content: Content, kind: str, directory: tiff.Directory | None) -> PageError:
    """The reason why no decoder reads an image: what it lacks by name, or damage."""
    lacking = None
    if kind == "TIFF":
        if directory is None or not directory.parts or directory.truncated(len(content)):
            return damaged(kind)
        lacking = directory.unsupported()
        if lacking is None and (directory.extra or directory.photometric not in _COMMON):
            return PageError(f"TIFF cannot be decoded: damaged, or of a kind not read ({directory.described()})")
    elif kind == "JPEG":
        lacking = headers.unsupported_jpeg(content)
    elif kind == "BMP":
        lacking = headers.unsupported_bmp(content)
    return damaged(kind) if lacking is None else PageError(f"{kind} with {lacking}, which is not supported")
