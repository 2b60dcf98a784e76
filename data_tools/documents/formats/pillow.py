"""The only import of Pillow: the second decoder, for images that OpenCV does not read.

Pillow's own limit on pixels only warns at first, so the limit is checked here, before any pixel is decoded.
"""

import io
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, __version__

from data_tools.documents.formats.page_error import PageError, Pixels
from data_tools.documents.opencv import MAX_PIXELS

Image.MAX_IMAGE_PIXELS = None
# It warns of each unusual tag of a TIFF.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL")

_ALPHA_MODES = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L"})
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,
    AssertionError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on corrupt input."""


def decode(
    content: bytes | bytearray, kind: str, *, upright: bool = True, limit: int = MAX_PIXELS
) -> NDArray[np.generic] | None:
    """The first image of a `kind` ("TIFF", "PNG", ...) as it is stored; None if Pillow does not read it.

    uint8 [h, w] or [h, w, 3] (RGB), with alpha [h, w, 2] or [h, w, 4]; deeper samples [h, w] keep their dtype.
    upright: turned as EXIF says.

    Raises:
        PageError: more than `limit` pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[kind.upper()]) as image:
            if image.width * image.height > limit:
                raise PageError(f"more than {limit} pixels")
            image.load()
            # Pillow turns a TIFF itself.
            turned = ImageOps.exif_transpose(image) if upright and kind != "TIFF" else image
            return np.asarray(_plain(turned if turned is not None else image))
    except _DECODER_ERRORS:
        return None


def _plain(image: Image.Image) -> Image.Image:
    """The image in gray, RGB, one of these with alpha, or deep gray."""
    mode = image.mode
    if mode in _DEEP_MODES or mode in ("L", "LA", "RGB", "RGBA"):
        return image
    if mode == "La":
        # Pillow converts it to nothing else; its samples stay as they are: premultiplied.
        return Image.merge("LA", image.split())
    if mode == "RGBa":
        return Image.merge("RGBA", image.split())
    if mode in _ALPHA_MODES or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if mode == "1" else "RGB")


def turned(pixels: Pixels, content: bytes | bytearray, kind: str) -> Pixels:
    """`pixels` uint8 [h, w(, c)] of an image, turned as its EXIF orientation says."""
    try:
        with Image.open(io.BytesIO(content), formats=[kind.upper()]) as image:
            image.load()
            orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return pixels
    return oriented(pixels, orientation)


def oriented(pixels: Pixels, orientation: int) -> Pixels:
    """`pixels` uint8 [h, w(, c)] upright, by the value of TIFF's and EXIF's tag of orientation."""
    method = _TURNS.get(orientation)
    return pixels if method is None else np.asarray(Image.fromarray(pixels).transpose(method), np.uint8)


_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""As `PIL.ImageOps.exif_transpose`."""


def version() -> str:
    """Pillow's version."""
    return str(__version__)
