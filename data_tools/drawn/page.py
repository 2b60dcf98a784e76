"""A page that is being drawn: canvas, random generator, and text."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_tools.drawn.canvas import GLYPH_ROWS, Area, Canvas, Face, Gray, glyphs, resized
from data_tools.drawn.words import WORDS

T = TypeVar("T")
Align = Literal["left", "middle", "right"]

_STRIPS = 8
_STRIP_COLUMNS = 4000


@dataclass(frozen=True)
class Type:
    """Text style: `size` is the height of the line box, `leading` the line distance in sizes."""

    size: float = 14.0
    face: Face = "plain"
    leading: float = 1.25

    @property
    def pitch(self) -> float:
        """Distance from one line to the next, in thousandths of the page's height."""
        return self.size * self.leading

    def bold(self) -> "Type":
        return Type(self.size, "bold", self.leading)

    def larger(self, factor: float) -> "Type":
        return Type(self.size * factor, self.face, self.leading)


@dataclass
class Page:
    """The canvas and the only random generator that a layout may use."""

    canvas: Canvas
    random: np.random.Generator

    @property
    def width(self) -> float:
        return self.canvas.width

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.random.random())

    def integer(self, low: int, high: int) -> int:
        """A random integer from `low` to `high`, both included."""
        return low + int(self.random.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random.random() * len(options))]

    def text(self, at: tuple[float, float], text: str, kind: Type, *, align: Align = "left") -> float:
        """Set `text` with its upper edge at `at`; returns its width."""
        patch = _set(text, kind.face, self._rows(kind))
        width: float = patch.shape[1] / self.canvas.scale
        shift = {"left": 0.0, "middle": width / 2, "right": width}[align]
        self.canvas.paste(at[0] - shift, at[1], patch)
        return width

    def turned_text(self, at: tuple[float, float], text: str, kind: Type, *, quarter_turns: int = 3) -> None:
        """Set `text` rotated by quarter turns counterclockwise, upper left corner at `at`."""
        self.canvas.paste(*at, np.rot90(_set(text, kind.face, self._rows(kind)), quarter_turns))

    def words(self, at: tuple[float, float], width: float, kind: Type, *, justified: bool = False) -> float:
        """Set running words up to `width`, or exactly `width` if justified; returns the used width."""
        strip, starts, ends = _strip(kind.face, self._rows(kind), self.integer(0, _STRIPS - 1))
        limit = width * self.canvas.scale
        # A line starts at any word with enough of the strip after it.
        first = self.integer(0, max(0, int(np.searchsorted(starts, ends[-1] - limit)) - 1))
        last = int(np.searchsorted(ends, starts[first] + limit, side="right")) - 1
        if last < first:
            return 0.0
        patch = strip[:, starts[first] : ends[last]]
        if justified:
            patch = resized(patch, patch.shape[0], int(limit))
        self.canvas.paste(*at, patch)
        return float(patch.shape[1] / self.canvas.scale)

    def paragraph(self, area: Area, kind: Type, *, justified: bool = False) -> float:
        """Fill `area` with lines of words, the last one shorter; returns the lower edge of the last line."""
        y = area.top
        while y + 2 * kind.pitch <= area.bottom:
            ragged = 0 if justified else self.between(0, 0.06) * area.width
            self.words((area.left, y), area.width - ragged, kind, justified=justified)
            y += kind.pitch
        if y + kind.pitch <= area.bottom:
            self.words((area.left, y), area.width * self.between(0.25, 0.9), kind)
            y += kind.pitch
        return y

    def rule(self, left: float, right: float, y: float, *, thickness: float = 1.5) -> None:
        """A horizontal line."""
        self.canvas.strokes([[(left, y), (right, y)]], thickness=thickness)

    def _rows(self, kind: Type) -> int:
        return max(3, round(kind.size * self.canvas.scale))


@functools.lru_cache(maxsize=4096)
def _set(text: str, face: Face, rows: int) -> Gray:
    source = glyphs(text, face)
    return _inked(resized(source, rows, round(source.shape[1] * rows / GLYPH_ROWS)))


def _inked(patch: Gray) -> Gray:
    """Darken text that was reduced in size, as scans show it."""
    return np.maximum(0, 255 - (255 - patch.astype(np.int16)) * 3 // 2).astype(np.uint8)


@functools.lru_cache(maxsize=1024)
def _strip(face: Face, rows: int, number: int) -> tuple[Gray, NDArray[np.int64], NDArray[np.int64]]:
    """A long line of words, uint8 [rows, columns], and the start and end columns of its words."""
    source, edges = _strip_source(face, number)
    factor = rows / GLYPH_ROWS
    columns = round(source.shape[1] * factor)
    starts, ends = np.minimum(np.ceil(edges * factor), columns).astype(np.int64).T
    return _inked(resized(source, rows, columns)), starts, ends


@functools.lru_cache(maxsize=128)
def _strip_source(face: Face, number: int) -> tuple[Gray, NDArray[np.int64]]:
    # All pages share the strips; they differ in the strip and the first word that they use.
    random = np.random.default_rng([len(face), number])
    gap = glyphs(" ", "typewriter")[:, :10]
    pieces: list[Gray] = []
    edges: list[tuple[int, int]] = []
    column = 0
    while column < _STRIP_COLUMNS:
        word = glyphs(WORDS[int(random.integers(len(WORDS)))], face)
        edges.append((column, column + word.shape[1]))
        column += word.shape[1] + gap.shape[1]
        pieces += [word, gap]
    return np.hstack(pieces), np.array(edges, np.int64)
