"""The drawing primitives, which use OpenCV: ink, glyphs, warps and the TIFF encoder."""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.opencv import cv2
from data_tools.errors import UserError

Gray = NDArray[np.uint8]
"""A gray image, uint8 [height, width], 0 is black and 255 white."""
Point = tuple[float, float]
Face = Literal["plain", "bold", "italic", "typewriter"]

GLYPH_ROWS = 40
"""Height in pixels at which text is rendered before it is resized for the page."""
_BASELINE = 30
_PITCH = 19
"""Width in pixels of a typewriter character at GLYPH_ROWS."""
_FONTS = {
    "plain": cv2.FONT_HERSHEY_SIMPLEX,
    "bold": cv2.FONT_HERSHEY_DUPLEX,
    "italic": cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    "typewriter": cv2.FONT_HERSHEY_SIMPLEX,
}
_SHIFT = 3
"""Fractional bits of the coordinates passed to OpenCV."""


class Area(NamedTuple):
    """A box on a page, in thousandths of the page's height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def inset(self, by: float) -> "Area":
        """The box inside this one at distance `by` from each side."""
        return Area(self.left + by, self.top + by, self.right - by, self.bottom - by)


class Canvas:
    """A gray page; positions and lengths are in thousandths of its height."""

    def __init__(self, height_px: int, width: float) -> None:
        self.scale: float = height_px / 1000
        self.width = width
        self.ink: Gray = np.full((height_px, max(8, round(width * self.scale))), 255, np.uint8)

    def paste(self, x: float, y: float, patch: Gray) -> None:
        """Place `patch` (in pixels) with its upper left corner at (x, y); the darker value is kept."""
        row, column = round(y * self.scale), round(x * self.scale)
        patch = patch[max(0, -row) :, max(0, -column) :]
        row, column = max(0, row), max(0, column)
        target = self.ink[row : row + patch.shape[0], column : column + patch.shape[1]]
        np.minimum(target, patch[: target.shape[0], : target.shape[1]], out=target)

    def strokes(self, lines: Sequence[Sequence[Point] | NDArray[np.float64]], *, thickness: float = 1.5) -> None:
        """Draw open lines through points, each [n, 2] as (x, y); `thickness` in units of the canvas.

        Lines thinner than a pixel are one pixel wide and paler.
        """
        width_px: float = thickness * self.scale
        pale = int(255 * (1 - min(1.0, 0.25 + 0.75 * width_px)))
        cv2.polylines(
            self.ink,
            [self._fixed(line) for line in lines],
            False,
            pale,
            max(1, round(width_px)),
            cv2.LINE_AA,
            _SHIFT,
        )

    def box(self, area: Area, *, outline: float = 1.5, fill: int | None = None) -> None:
        """Draw a rectangle; `fill` is a gray value or None, and `outline` 0 means no outline."""
        if fill is not None:
            top, bottom = round(area.top * self.scale), round(area.bottom * self.scale)
            left, right = round(area.left * self.scale), round(area.right * self.scale)
            self.ink[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = fill
        if outline:
            x0, y0, x1, y1 = area
            corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
            self.strokes([corners], thickness=outline)

    def polygon(self, points: Sequence[Point] | NDArray[np.float64], *, gray: int = 0) -> None:
        """Fill the polygon with corners `points`, [n, 2] as (x, y), with a gray level 0..255."""
        cv2.fillPoly(self.ink, [self._fixed(points)], gray, cv2.LINE_AA, _SHIFT)

    def _fixed(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.int32]:
        scaled = np.asarray(points, np.float64) * (self.scale * (1 << _SHIFT))
        return np.rint(scaled).astype(np.int32).reshape(-1, 1, 2)


@functools.lru_cache(maxsize=4096)
def glyphs(text: str, face: Face) -> Gray:
    """`text` in black on white, uint8 [GLYPH_ROWS, width]; includes trailing spaces."""
    if face == "typewriter":
        return np.hstack([_typed(character) for character in text]) if text else _blank(1)
    (width, _), _ = cv2.getTextSize(text, _FONTS[face], 1.0, 1)
    image = _blank(max(1, width + 2))
    cv2.putText(image, text, (1, _BASELINE), _FONTS[face], 1.0, 0, 1, cv2.LINE_AA)
    return image


@functools.lru_cache(maxsize=256)
def _typed(character: str) -> Gray:
    (width, _), _ = cv2.getTextSize(character, _FONTS["typewriter"], 1.0, 1)
    cell = _blank(2 * _PITCH)
    cv2.putText(cell, character, (_PITCH - width // 2, _BASELINE), _FONTS["typewriter"], 1.0, 0, 1, cv2.LINE_AA)
    return cell[:, _PITCH // 2 : _PITCH // 2 + _PITCH]


def _blank(columns: int) -> Gray:
    return np.full((GLYPH_ROWS, columns), 255, np.uint8)


def resized(image: Gray, height: int, width: int) -> Gray:
    """`image` resized to another size in pixels; by area when it shrinks."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (max(1, width), max(1, height)), interpolation=way), np.uint8)


def warped(image: Gray, *, degrees: float, zoom: tuple[float, float], shift: tuple[float, float], border: int) -> Gray:
    """`image` rotated and scaled (x, y) about its center, shifted by a fraction of its size, padded with `border`."""
    height, width = image.shape
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[zoom[0] * cosine, zoom[1] * sine], [-zoom[0] * sine, zoom[1] * cosine]])
    middle = np.array([width / 2, height / 2])
    move = middle + np.array([shift[0] * width, shift[1] * height]) - turn @ middle
    matrix = np.hstack([turn, move[:, None]])
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=border), np.uint8
    )


def blurred(image: Gray, sigma: float) -> Gray:
    """`image` blurred with a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def mapped(image: Gray, levels: Gray) -> Gray:
    """`image` with each gray value replaced by its entry in `levels`, uint8 [256]."""
    return np.asarray(cv2.LUT(image, levels), np.uint8)


def tiff(image: Gray) -> bytes:
    """`image` as an 8-bit gray TIFF with PackBits: a third larger than LZW, encoded in a sixth of the time.

    Raises:
        UserError: OpenCV was built without TIFF.
    """
    done, encoded = cv2.imencode(".tif", image, [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_PACKBITS])
    if not done:
        raise UserError("OpenCV cannot write TIFF; install the opencv-python-headless of the lock file")
    return bytes(encoded.tobytes())


def draw_on_one_thread() -> None:
    """Keep OpenCV to one thread, since each core has a process that draws pages."""
    cv2.setNumThreads(1)
