"""Distinguishes two scans of one page from scans of two pages: a perceptual hash and a detailed comparison."""

import functools

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.pixels import Pixels, peak_correlation

THUMB_PX = 64
"""Side of the square thumbnail that the hash is computed from, in pixels."""
HASH_BITS = 256
HASH_WORDS = HASH_BITS // 64

DETAIL_HEIGHT, DETAIL_WIDTH = 256, 192
"""Size of the pages in a detailed comparison, in pixels."""

NEAR_BITS = 72
"""Largest distance of the hashes of one page, in bits."""
NEAR_AGREEMENT = 0.875
"""Least agreement of near duplicates; docs/survey.md has the figures for both limits."""

_FREQUENCIES = 24
_SKIPPED = 3
_BANDS = 8
_PAPER_SHARE = 0.95
_FAINT = 0.08

_TILE_PX, _REACH_PX = 24, 8
_MARGIN_Y, _MARGIN_X = 20, 12
_TILE_CONTRAST = 10.0
_TILE_FOUND = 0.6
_FEWEST_TILES = 2


def paper_level(thumb: Pixels) -> int:
    """Gray level of the paper, 0..255: the 95 % quantile of `thumb` uint8 [h, w]."""
    brightest = thumb.size - int(thumb.size * _PAPER_SHARE)
    return int(np.partition(thumb, -brightest, axis=None)[-brightest])


def perceptual_hash(thumb: Pixels) -> NDArray[np.uint64]:
    """A 256-bit hash that changes little between scans of a page; `thumb` uint8 [64, 64] of the page -> uint64 [4].

    Each bit tests whether a low-frequency coefficient of the page's ink (discrete cosine transform, as in the 64-bit
    "pHash") is above the median. The square root keeps black areas from outweighing text. The first three coefficients
    are skipped, since they depend on the exposure. The first 128 bits are distributed over eight 16-bit words with low
    and high frequencies in each, see `duplicates.bands`.
    """
    paper = max(paper_level(thumb), 1)
    ink = np.sqrt(np.clip(1 - _FAINT - thumb.astype(np.float64) / paper, 0, None))
    coefficients = (_cosines() @ ink @ _cosines().T).ravel()[_order()]
    bits = coefficients > np.median(coefficients)
    half = HASH_BITS // 2
    banded = np.concatenate([bits[:half].reshape(-1, _BANDS).T.ravel(), bits[half:]])
    return np.packbits(banded).view(np.uint64)


@functools.cache
def _cosines() -> NDArray[np.float64]:
    places = (np.arange(THUMB_PX) + 0.5) / THUMB_PX
    return np.asarray(np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * places[None]))


@functools.cache
def _order() -> NDArray[np.intp]:
    """Flat positions of the used coefficients, lowest frequency first."""
    rows, columns = np.mgrid[:_FREQUENCIES, :_FREQUENCIES]
    lowest_first = np.lexsort((rows.ravel(), (rows + columns).ravel()))
    return lowest_first[_SKIPPED : _SKIPPED + HASH_BITS]


def hash_text(value: NDArray[np.uint64]) -> str:
    """A hash, uint64 [4], as 64 hexadecimal digits."""
    return value.tobytes().hex()


def hash_value(text: str) -> NDArray[np.uint64]:
    """The hash in a text of `hash_text`, uint64 [4]."""
    return np.frombuffer(bytes.fromhex(text), np.uint64)


def agreement(first: Pixels, second: Pixels) -> float:
    """Fraction, 0..1, of each page that is found on the other; both uint8 [256, 192] of the full page.

    Searches tiles with ink (a few words each) on the other page, within the distance of a shift of 3 %, a skew of
    1 degree or a scale of 98 %, and returns the smaller fraction of both directions. Forms of one template agree in the
    template, not in their entries. Pages with fewer than two inked tiles have agreement 0. The outer 6 to 8 % are
    ignored: scanner borders, stamped numbers.
    """
    return min(_share_found(first, second), _share_found(second, first))


def _share_found(page: Pixels, other: Pixels) -> float:
    tiles, found = 0, 0
    height, width = page.shape
    for y in range(_MARGIN_Y, height - _MARGIN_Y - _TILE_PX + 1, _TILE_PX):
        for x in range(_MARGIN_X, width - _MARGIN_X - _TILE_PX + 1, _TILE_PX):
            tile = page[y : y + _TILE_PX, x : x + _TILE_PX]
            if tile.std() < _TILE_CONTRAST:
                continue
            top, left = max(y - _REACH_PX, 0), max(x - _REACH_PX, 0)
            window = other[top : y + _TILE_PX + _REACH_PX, left : x + _TILE_PX + _REACH_PX]
            tiles += 1
            found += peak_correlation(window, tile) > _TILE_FOUND
    return found / tiles if tiles >= _FEWEST_TILES else 0.0
