"""The first image in a file's bytes as pixels: OpenCV, and Pillow where OpenCV does not read it.

What OpenCV reads keeps OpenCV's pixels to the bit; what is transparent lies on white paper.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.content import Content as Kind
from data_tools.documents.content import content_of
from data_tools.documents.formats import alpha, headers, tiff, tiff_samples
from data_tools.documents.formats.page_error import PageError, Pixels, damaged
from data_tools.documents.opencv import MAX_PIXELS, cv2

Content = bytes | bytearray

_WHITE_IS_ZERO = 0


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
    flag = cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE
    if directory is not None and _misread(directory):
        return _by_others(content, kind, directory, color=color)
    transparent = alpha.may_be_transparent(content, kind, directory)
    page = by_opencv(content, kind, flag | cv2.IMREAD_IGNORE_ORIENTATION if transparent else flag)
    if page is None:
        return _by_others(content, kind, directory, color=color)
    if transparent:
        page = alpha.composited(page, content, kind, directory=directory)
        return page if kind == "TIFF" else _turned(page, content, kind)
    if directory is not None and directory.undeclared_alpha and content_of(page) == "black":
        return alpha.rescued(page, content)
    return page


def _misread(directory: tiff.Directory) -> bool:
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


def by_opencv(content: Content, kind: str, flag: int) -> Pixels | None:
    """OpenCV's pixels, uint8; None if it does not read them.

    Raises:
        PageError: too many pixels, too little memory, or an error that OpenCV explains.
    """
    page = _imdecode(content, kind, flag)
    return None if page is None or page.size == 0 or page.dtype != np.uint8 else np.asarray(page, np.uint8)


def _imdecode(content: Content, kind: str, flag: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except (cv2.error, MemoryError) as error:
        raise PageError(f"{kind} cannot be decoded: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = str(error)
    if "CV_IO_MAX_IMAGE" in text:
        return f"more than {MAX_PIXELS} pixels"
    if isinstance(error, MemoryError) or "Insufficient memory" in text:
        return "needs too much memory"
    # OpenCV's message, without its version and source path.
    return f"OpenCV: {' '.join((getattr(error, 'err', '') or text).split())[:200]}"


def _turned(page: Pixels, content: Content, kind: str) -> Pixels:
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    return pillow.turned(page, content, kind)


def _by_others(content: Content, kind: str, directory: tiff.Directory | None, *, color: bool) -> Pixels:
    """The page by OpenCV's deep samples, by Pillow, by its specification, or from an old-style JPEG stream."""
    page = None if directory is None else _special(content, directory)
    if page is None:
        from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

        found = pillow.decode(content, kind)
        if found is not None and found.size:
            inverted = directory is not None and directory.photometric == _WHITE_IS_ZERO and found.dtype != np.uint8
            page = _opaque(scaled(found, inverted=inverted), directory)
    if page is None and directory is not None:
        page = _by_specification(content, directory)
    if page is not None:
        return _shaped(page, color=color)
    if directory is not None and (stream := _jpeg_stream(content, directory)):
        page = by_opencv(stream, "JPEG", cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE)
        if page is not None:
            return page
    raise _why(content, kind, directory)


def _special(content: Content, directory: tiff.Directory) -> Pixels | None:
    """A TIFF page, uint8 [h, w(, 3)], of a kind that Pillow does not read or misreads; None for others.

    Raises:
        PageError: the file is truncated.
    """
    if directory.truncated(len(content)):
        raise damaged("TIFF")
    whole = directory.sample_format == tiff.UINT and directory.bits > 8 and directory.bits < 32
    if directory.alpha is not None or whole or (directory.planar and directory.bits > 8):
        page = _by_specification(content, directory)
        if page is not None:
            return page
    if directory.alpha is None and (directory.bits > 8 or directory.sample_format == tiff.INT):
        deep = _imdecode(content, "TIFF", cv2.IMREAD_UNCHANGED)
        if deep is not None and deep.size:
            page = scaled(deep, inverted=directory.photometric == _WHITE_IS_ZERO)
            if page.ndim == 3:
                page = np.ascontiguousarray(page[:, :, 2::-1] if page.shape[2] > 2 else page[:, :, 0])
            return page
    return None


def _by_specification(content: Content, directory: tiff.Directory) -> Pixels | None:
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
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    return pillow.oriented(page, directory.orientation)


_OPAQUE = 255


def _levels(samples: NDArray[Any], directory: tiff.Directory) -> Pixels:
    """Samples of any depth as uint8: unsigned ones by the top of their depth, others as `scaled`."""
    if directory.sample_format == tiff.UINT and directory.bits <= 32:
        top = 2**directory.bits - 1
        if directory.bits <= 8:
            return np.asarray(samples.astype(np.uint16) * 255 // top, np.uint8)
        # As OpenCV.
        return np.asarray(samples >> (directory.bits - 8), np.uint8)
    return scaled(samples, inverted=False)


def _rgb(levels: Pixels, directory: tiff.Directory) -> Pixels:
    """Gray [h, w], or RGB [h, w, 3], of color samples [h, w, c]."""
    if levels.shape[2] == 1:
        gray = np.ascontiguousarray(levels[:, :, 0])
        return np.asarray(255 - gray, np.uint8) if directory.photometric == _WHITE_IS_ZERO else gray
    if levels.shape[2] == 4:
        light = (255 - levels[:, :, :3].astype(np.uint16)) * (255 - levels[:, :, 3:].astype(np.uint16))
        return np.asarray((light + 127) // 255, np.uint8)
    return np.ascontiguousarray(levels)


def second_opinion(content: Content, kind: str) -> Kind | None:
    """What Pillow finds in the colors of an image, without its transparency; None if it does not read it."""
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    page = pillow.decode(content, kind)
    if page is None or not page.size:
        return None
    colors = page[:, :, 0] if page.ndim == 3 and page.shape[2] == 2 else page[:, :, :3] if page.ndim == 3 else page
    return content_of(scaled(np.ascontiguousarray(colors), inverted=False))


def scaled(samples: NDArray[Any], *, inverted: bool) -> Pixels:
    """Deep samples as uint8 of the same shape: black is 0, and white the top of the range that the values are in.

    The range of floating-point values is 1, 255 or 65,535, of 32-bit integers that or their type's maximum, whichever
    is the first that the largest value does not exceed. If a signed integer is negative, the type's minimum is black.
    inverted: 0 is white.
    """
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    values = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    tops = [1.0, 255.0, 65535.0]
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        tops = [float(limits.max)] if limits.bits < 32 else [255.0, 65535.0, 2.0**31, 2.0**32]
        if values.min() < 0:
            values -= float(limits.min)
            tops = [float(limits.max) - float(limits.min)]
    highest = float(values.max())
    top = next((top for top in tops if highest <= top), highest)
    page = np.clip(values * (255 / top) + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(255 - page if inverted else page, np.uint8)


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


def _jpeg_stream(content: Content, directory: tiff.Directory) -> bytes | None:
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


_OLD_JPEG = 6
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
