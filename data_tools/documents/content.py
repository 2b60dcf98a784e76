"""Whether a page is nearly blank or nearly black; the thresholds are those of the survey."""

from typing import Literal

import numpy as np

from data_tools.documents.formats.page_error import Pixels

Content = Literal["page", "blank", "black"]

BLANK_INK = 0.0005
"""Largest ink fraction of a blank page; page numbers, dust and punch holes are below."""
BLACK_LEVEL = 64
"""A page whose paper is darker than this gray level is black."""
INK_LEVEL = 0.75
"""Ink is darker than this share of the paper's gray level."""

_PAPER_SHARE = 0.95
_MARGIN = 0.04
_SAMPLED = 2**15
"""Pixels that are looked at, about: every k-th row and column of a large page."""


def content_of(page: Pixels) -> Content:
    """The kind of a page, uint8 [h, w(, 3)], by a grid of its pixels; costs microseconds.

    The paper's level is the 95 % quantile; ink is counted without the outer 4 % of the page.
    """
    height, width = page.shape[:2]
    step = max(1, round((height * width / _SAMPLED) ** 0.5))
    rows, columns = int(height * _MARGIN), int(width * _MARGIN)
    grid = page[rows : max(height - rows, 1) : step, columns : max(width - columns, 1) : step]
    # Ink of any color is dark in one channel, and paper of any color is bright in one.
    light, dark = (grid.max(axis=2), grid.min(axis=2)) if grid.ndim == 3 else (grid, grid)
    counts = np.bincount(light.reshape(-1), minlength=256)
    paper = int(np.searchsorted(np.cumsum(counts), _PAPER_SHARE * light.size))
    if paper < BLACK_LEVEL:
        return "black"
    ink = np.count_nonzero(dark < int(np.ceil(INK_LEVEL * paper))) / dark.size
    return "blank" if ink <= BLANK_INK else "page"
