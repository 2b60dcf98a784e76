"""Handwriting: one smooth line for each word, with rising, falling and looping strokes."""

import numpy as np
from numpy.typing import NDArray

from data_tools.drawn.canvas import Area
from data_tools.drawn.page import Page

_STEPS = 4
"""Points between two control points of the pen."""
_T = np.arange(_STEPS)[:, None] / _STEPS
# Catmull-Rom weights of the four control points around a segment.
_WEIGHTS = 0.5 * np.concatenate(
    [-_T + 2 * _T**2 - _T**3, 2 - 5 * _T**2 + 3 * _T**3, _T + 4 * _T**2 - 3 * _T**3, -(_T**2) + _T**3], axis=1
)


def smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Catmull-Rom curve through `points` [n, 2]; returns [(n - 3) * _STEPS, 2]."""
    windows = np.stack([points[:-3], points[1:-2], points[2:-1], points[3:]])
    return np.tensordot(windows, _WEIGHTS, axes=(0, 1)).transpose(0, 2, 1).reshape(-1, 2)


def scribble(page: Page, area: Area, *, slant: float = 0.2, thickness: float = 2.4) -> None:
    """One flourish that fills `area`, as in a signature."""
    count = page.integer(9, 16)
    x = np.linspace(area.left, area.right, count) + page.random.normal(0, 0.08, count) * area.width
    tall = page.random.random(count) ** 1.5
    y = area.bottom - area.height * np.where(np.arange(count) % 2, 0.25 + 0.75 * tall, 0.25 * tall)
    x += slant * (area.bottom - y)
    page.canvas.strokes([smooth(np.stack([x, y], axis=1))], thickness=thickness)


def handwriting(page: Page, area: Area, size: float, *, thickness: float = 2.2) -> float:
    """Handwritten lines that fill `area`, with letters of height `size`; returns the lower edge."""
    pitch, slant, drift = size * page.between(1.35, 1.8), page.between(0, 0.5), page.between(-0.02, 0.02)
    y = area.top + size
    while y <= area.bottom:
        right = area.right - area.width * page.between(0, 0.25)
        lines = _written_line(page, Area(area.left + page.between(-8, 8), y - size, right, y), slant, drift)
        page.canvas.strokes(lines, thickness=thickness)
        y += pitch
    return y - size


def _written_line(page: Page, area: Area, slant: float, drift: float) -> list[NDArray[np.float64]]:
    random, size = page.random, area.height
    letters = max(3, int(area.width / (size * page.between(0.38, 0.55))))
    advance, count = area.width / letters, 4 * letters
    # Each letter is one turn of the pen, up at one side and down at the other; the width makes it a loop or an arch.
    phase = np.arange(count) * (np.pi / 2)
    tall = np.where(random.random(letters) < 0.2, 1.0, 0.45) * (0.8 + 0.4 * random.random(letters))
    deep = np.where(random.random(letters) < 0.1, 0.4, 0.0)
    loops = random.uniform(-0.35, 0.6, letters) * advance
    rise = (np.repeat(tall + deep, 4) * (1 - np.cos(phase)) / 2 - np.repeat(deep, 4)) * size
    x = area.left + np.arange(count) * (advance / 4) + np.repeat(loops, 4) * np.sin(phase)
    x += random.normal(0, 0.06, count) * advance + slant * rise
    curve = np.stack([x, area.bottom - rise + drift * (x - area.left)], axis=1)
    words, start = [], 0
    while start + 7 < count:
        end = start + 4 * page.integer(2, 8)
        words.append(smooth(curve[start : end + 1]))
        start = end + 3
    return words
