"""Transparent pages on white paper, as viewers and printers show them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats import headers, tiff
from data_tools.documents.formats.page_error import PageError, Pixels
from data_tools.documents.opencv import cv2

Content = bytes | bytearray


def may_be_transparent(content: Content, kind: str, directory: tiff.Directory | None) -> bool:
    """Whether the header of an image declares transparency; reads no pixel."""
    if kind == "PNG":
        return headers.png_transparency(content) is not None
    if kind == "WebP":
        return headers.webp_transparent(content)
    if kind == "BMP":
        return headers.bmp_transparent(content)
    return directory is not None and directory.alpha is not None


def alpha_plane(content: Content, kind: str, directory: tiff.Directory | None) -> NDArray[Any] | None:
    """The opacity of each pixel, [h, w], 0 to the maximum of its dtype, uint8 or uint16, as stored (not turned).

    None if no decoder gives it.
    """
    raw = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is not None and raw.ndim == 3 and raw.shape[2] == 4 and raw.dtype in (np.uint8, np.uint16):
        return np.asarray(raw[:, :, 3])
    if kind == "PNG" and raw is not None and raw.ndim == 2:
        return _keyed(raw, content)
    from data_tools.documents.formats import pillow  # Imported late: most pages need no second decoder.

    second = pillow.decode(content, kind, upright=False)
    if second is not None and second.ndim == 3 and second.shape[2] in (2, 4):
        return np.asarray(second[:, :, -1])
    return None


def _keyed(raw: NDArray[Any], content: Content) -> NDArray[np.uint8] | None:
    """Opacity of a gray PNG with one transparent level (PNG specification, 11.3.2.1); raw: its samples."""
    found = headers.png_transparency(content)
    if found is None or found[0] != 0 or len(found[1]) < 2:
        return None
    depth, level = content[24], int.from_bytes(found[1][:2])
    if depth < 8:
        # The decoder scales them to 8 bits.
        level = level * 255 // (2**depth - 1)
    return np.where(raw == level, 0, 255).astype(np.uint8)


def on_white(page: Pixels, opacity: NDArray[Any], *, premultiplied: bool) -> Pixels:
    """`page` uint8 [h, w(, 3)] over white paper; opacity: [h, w] of uint8 or uint16, 0 is transparent.

    premultiplied: the page's values are already multiplied by the opacity. Where opacity is full, the page's bits stay.
    """
    out = np.empty_like(page)
    # In bands, so that a large page needs little memory beside its own.
    rows = max(1, _BAND // max(page.shape[1], 1))
    for top in range(0, page.shape[0], rows):
        band = slice(top, top + rows)
        out[band] = _band_on_white(page[band], opacity[band], premultiplied=premultiplied)
    return out


_BAND = 2**20
"""Pixels that are composited at once."""


def _band_on_white(page: Pixels, opacity: NDArray[Any], *, premultiplied: bool) -> Pixels:
    share = opacity.astype(np.float32) / np.float32(np.iinfo(opacity.dtype).max)
    if page.ndim == 3:
        share = share[:, :, None]
    ink = np.float32(255) - page
    if premultiplied:
        ink -= (1 - share) * np.float32(255)
    else:
        ink *= share
    return np.asarray(np.clip(np.float32(255.5) - ink, 0, 255), np.uint8)


def composited(page: Pixels, content: Content, kind: str, *, directory: tiff.Directory | None) -> Pixels:
    """`page`, as OpenCV reads it without regard to EXIF orientation, over white paper; same shape, not turned.

    Raises:
        PageError: the image is transparent, and its opacity cannot be read.
    """
    opacity = alpha_plane(content, kind, directory)
    if opacity is None or opacity.shape != page.shape[:2]:
        samples = f"{directory.samples} x {directory.bits}-bit samples" if directory else "samples"
        raise PageError(f"{kind} with {samples} and an alpha channel, which is not supported")
    # Programs that know no alpha leave it zero in all of a BMP, and viewers then ignore it.
    unused = kind == "BMP" and not opacity.any()
    if unused or opacity.min() == np.iinfo(opacity.dtype).max:
        return page
    return on_white(page, opacity, premultiplied=_premultiplied(page, directory))


def rescued(page: Pixels, opacity: NDArray[Any] | None) -> Pixels:
    """A black `page` over white paper by a further sample [h, w], if that shows something; otherwise as it is.

    TIFF 6.0 calls an undeclared sample no alpha, and some programs write alpha so; then the page has no other content.
    """
    if opacity is None or opacity.shape != page.shape[:2] or opacity.min() == opacity.max():
        return page
    return on_white(page, opacity, premultiplied=False)


def _premultiplied(page: Pixels, directory: tiff.Directory | None) -> bool:
    """Whether OpenCV's pixels are multiplied by the opacity.

    TIFF stores associated alpha so, and libtiff multiplies unassociated RGB; gray stays as it is.
    """
    if directory is None:
        return False
    return directory.alpha == 1 or directory.photometric == _RGB


_RGB = 2
