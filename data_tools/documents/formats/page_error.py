"""What readers of pages share: the type of pixels, and the error of a page that cannot be used."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class PageError(Exception):
    """A page that cannot be used; the text is the reason, without the page's name."""


def damaged(kind: str) -> PageError:
    """The error of a file that ends early or has wrong bytes."""
    return PageError(f"{kind} cannot be decoded (truncated or damaged)")
