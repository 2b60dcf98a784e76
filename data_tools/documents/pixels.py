"""Pages as pixels: read a file safely, crop and resize a box, encode it."""

import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.opencv import MAX_PIXELS, cv2
from data_tools.documents.regions import Box, pixel_box

MAX_FILE_BYTES = 2**30
"""Size limit of a page's file."""

Pixels = NDArray[np.uint8]

_JPEG_QUALITY = 95
_PNG_LEVEL = 6


class PageError(Exception):
    """A page that cannot be used; the text is the reason, without the page's name."""


def read_page(path: Path | str, *, color: bool = False) -> Pixels:
    """The first page of a TIFF, PNG, JPEG, BMP or WebP file; uint8 [h, w], or [h, w, 3] as RGB with `color`.

    Raises:
        PageError: the file is missing, not regular, empty, too large, of another format, or cannot be decoded.
    """
    return decode(read_file(path), color=color)


def read_file(path: Path | str) -> bytes:
    """The bytes of a page's file.

    Raises:
        PageError: the file is missing, not regular, empty, larger than MAX_FILE_BYTES, or not readable.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe blocks until a writer comes.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PageError("not a regular file")
            if status.st_size == 0:
                raise PageError("empty file")
            if status.st_size > MAX_FILE_BYTES:
                raise PageError(f"file of {status.st_size} bytes, more than {MAX_FILE_BYTES}")
            return file.readall()
    except FileNotFoundError:
        raise PageError("no such file") from None
    except OSError as error:
        raise PageError(f"not readable: {error.strerror}") from None


def decode(content: bytes, *, color: bool = False) -> Pixels:
    """Decode the image in a file's bytes; uint8 [h, w], or [h, w, 3] as RGB with `color`.

    Raises:
        PageError: an unknown format, or content that the decoder rejects.
    """
    kind = image_format(content)
    if kind is None:
        raise PageError("not a TIFF, PNG, JPEG, BMP or WebP image")
    try:
        raw = np.frombuffer(content, np.uint8)
        page = cv2.imdecode(raw, cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE)
    except (cv2.error, MemoryError) as error:
        raise PageError(f"{kind} cannot be decoded: {_reason(error)}") from None
    if page is None or page.size == 0 or page.dtype != np.uint8:
        raise PageError(f"{kind} cannot be decoded (truncated or damaged)")
    return np.asarray(page, np.uint8)


def _reason(error: Exception) -> str:
    text = str(error)
    if "CV_IO_MAX_IMAGE" in text:
        return f"more than {MAX_PIXELS} pixels"
    if isinstance(error, MemoryError) or "Insufficient memory" in text:
        return "needs too much memory"
    # OpenCV's message, without its version and source path.
    return f"OpenCV: {' '.join((getattr(error, 'err', '') or text).split())[:200]}"


def image_format(content: bytes) -> str | None:
    """The image format by its first bytes; None if it is not a supported one."""
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if content[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if content[:2] == b"BM":
        return "BMP"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    return None


def fit(page: Pixels, box: Box, height: int, width: int) -> Pixels:
    """Crop `box` from `page` uint8 [h, w(, 3)] and resize it by pixel area; uint8 [height, width, channels].

    On scans, nearest-neighbor (the default of the Keras generator) differs from it by 10 gray levels on average,
    linear by 7.
    """
    y0, y1, x0, x1 = pixel_box(box, page.shape[0], page.shape[1])
    resized = cv2.resize(page[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8).reshape(height, width, -1)


def warp(image: Pixels, matrix: NDArray[np.float64], fill: int) -> Pixels:
    """Warp `image` uint8 [h, w, c] by `matrix` [2, 3], which maps output (x, y, 1) to input (x, y); `fill` pads."""
    height, width, channels = image.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderValue=(fill,) * channels)
    return np.asarray(moved, np.uint8).reshape(image.shape)


def encode(image: Pixels, encoding: str) -> bytes:
    """Encode `image` uint8 [h, w, channels] (RGB) as `raw`, `png` or `jpeg` (quality 95)."""
    if encoding == "raw":
        return image.tobytes()
    bgr = image if image.shape[2] == 1 else image[:, :, ::-1]
    suffix, options = {
        "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]),
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]),
    }[encoding]
    done, content = cv2.imencode(suffix, np.ascontiguousarray(bgr), options)
    if not done:
        raise RuntimeError(f"OpenCV failed to encode {encoding}")
    return bytes(content)


def stack_rows(rows: list[Pixels], out: Pixels) -> None:
    """Copy `rows`, each uint8 [n], into `out` uint8 [k, n], C-contiguous.

    A single call that releases the GIL: NumPy takes it back for every row, and two copying threads then wait for each
    other a fifth of the time.
    """
    if rows and cv2.vconcat(rows, out) is not out:
        raise RuntimeError(f"OpenCV did not copy {len(rows)} rows into a buffer of shape {out.shape}")


def peak_correlation(window: Pixels, tile: Pixels) -> float:
    """The maximum normalized correlation, -1..1, of `tile` with any position in `window`; both uint8 [h, w]."""
    return float(cv2.matchTemplate(window, tile, cv2.TM_CCOEFF_NORMED).max())


def decoder_version() -> str:
    """OpenCV's version, which decides the exact pixels."""
    return str(cv2.__version__)
