"""OpenCV's decoder of images in memory, with its errors as reasons."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats.page_error import PageError, Pixels
from data_tools.documents.opencv import MAX_PIXELS, cv2

Content = bytes | bytearray


def by_opencv(content: Content, kind: str, flag: int) -> Pixels | None:
    """OpenCV's pixels, uint8; None if it does not read them.

    Raises:
        PageError: too many pixels, too little memory, or an error that OpenCV explains.
    """
    page = imdecode(content, kind, flag)
    return None if page is None or page.size == 0 or page.dtype != np.uint8 else np.asarray(page, np.uint8)


def imdecode(content: Content, kind: str, flag: int) -> NDArray[Any] | None:
    """The image by `flag`, of any depth; None if OpenCV does not read it.

    Raises:
        PageError: as `by_opencv`.
    """
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
