"""Samples of more than 8 bits as gray levels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.formats.page_error import Pixels


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
