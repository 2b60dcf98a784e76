"""Pages as pixels: read a file safely, crop and resize a box, encode it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.document import Document, open_document
from data_tools.documents.formats import pdfium
from data_tools.documents.formats.headers import image_format
from data_tools.documents.formats.page_error import PageError, Pixels
from data_tools.documents.formats.page_file import MAX_FILE_BYTES, read_file
from data_tools.documents.opencv import cv2
from data_tools.documents.pages import DPI
from data_tools.documents.regions import Box, pixel_box

__all__ = ["DPI", "MAX_FILE_BYTES", "PageError", "Pixels", "decode", "image_format", "read_file", "read_page"]

_JPEG_QUALITY = 95
_PNG_LEVEL = 6


def read_page(path: Path | str, *, color: bool = False, number: int = 1, dpi: int = DPI) -> Pixels:
    """Page `number` (from 1 on) of an image file or a PDF; uint8 [h, w], or [h, w, 3] as RGB with `color`.

    dpi: at which a PDF is rendered.

    Raises:
        PageError: the file is missing, not regular, empty, too large, of another format, or cannot be decoded.
    """
    with open_document(path, color=color, dpi=dpi) as document:
        return document.read(number)


def decode(content: bytes, *, color: bool = False) -> Pixels:
    """Decode the first page in a file's bytes; uint8 [h, w], or [h, w, 3] as RGB with `color`.

    Raises:
        PageError: an unknown format, or content that the decoder rejects.
    """
    with Document(content, color=color) as document:
        return document.read(1)


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
    """The versions of OpenCV, Pillow and, where it is installed, PDFium, which decide the exact pixels."""
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    renderer = pdfium.version()
    return f"OpenCV {cv2.__version__}, Pillow {pillow.version()}" + (f", PDFium {renderer}" if renderer else "")
