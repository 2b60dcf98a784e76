"""Tables, charts and check boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import disk
from data_tools.drawn.page import Page, Type


@dataclass(frozen=True)
class Table:
    """The look of a table: relative column widths, its lines, and the fraction of filled cells."""

    columns: Sequence[float]
    row: float = 20.0
    frame: bool = True
    upright: bool = True
    level: bool = True
    filled: float = 0.8
    words_first: bool = True

    def edges(self, area: Area) -> list[float]:
        """Left edges of the columns, and the right edge of the last one."""
        total, edges = sum(self.columns), [area.left]
        for share in self.columns:
            edges.append(edges[-1] + area.width * share / total)
        return edges


def table(page: Page, area: Area, look: Table, kind: Type) -> None:
    """A table in `area`: words in its first column, numbers in the others."""
    canvas, edges = page.canvas, look.edges(area)
    if look.frame:
        canvas.box(area)
    if look.upright:
        canvas.strokes([[(x, area.top), (x, area.bottom)] for x in edges[1:-1]], thickness=1.2)
    y = area.top
    while y + look.row <= area.bottom + 0.5:
        if look.level and y > area.top:
            page.rule(area.left, area.right, y, thickness=1.0)
        _row(page, y + (look.row - kind.size) / 2, edges, look, kind)
        y += look.row


def _row(page: Page, y: float, edges: Sequence[float], look: Table, kind: Type) -> None:
    for column, (left, right) in enumerate(pairwise(edges)):
        if not page.chance(look.filled):
            continue
        if column == 0 and look.words_first:
            page.words((left + 5, y), (right - left - 8) * page.between(0.5, 1), kind)
        else:
            page.text((right - 6, y), number(page), kind, align="right")


def number(page: Page) -> str:
    """A number as in tables."""
    way = page.integer(0, 3)
    if way == 0:
        return f"{page.integer(1, 99)}"
    if way == 1:
        return f"{page.integer(1, 99)}.{page.integer(0, 9)}"
    return f"{page.integer(100, 999)}" if way == 2 else f"{page.integer(1, 99)},{page.integer(100, 999)}"


def chart(page: Page, area: Area) -> None:
    """Axes with bars or curves."""
    canvas, count = page.canvas, page.integer(4, 9)
    canvas.strokes([[(area.left, area.top), (area.left, area.bottom), (area.right, area.bottom)]], thickness=2)
    heights = page.random.random(count) * area.height * 0.9
    step = area.width / count
    if page.chance(0.5):
        for index, height in enumerate(heights):
            left = area.left + step * (index + 0.2)
            canvas.box(
                Area(left, area.bottom - height, left + step * 0.6, area.bottom),
                fill=page.pick((0, 110, 190)),
            )
    else:
        for _ in range(page.integer(1, 3)):
            heights = np.cumsum(page.random.random(count))
            heights *= area.height * page.between(0.4, 0.9) / heights[-1]
            canvas.strokes([[(area.left + step * i, area.bottom - h) for i, h in enumerate(heights)]], thickness=2)
    page.words((area.left, area.bottom + 6), area.width * 0.8, Type(10))


def check_box(page: Page, x: float, y: float, size: float) -> None:
    """A small square or ring, sometimes ticked."""
    if page.chance(0.8):
        page.canvas.box(Area(x, y, x + size, y + size), outline=1.8)
    else:
        ring = disk(x + size / 2, y + size / 2, size / 2)
        page.canvas.strokes([[*ring, ring[0]]], thickness=1.8)
    if page.chance(0.25):
        page.canvas.strokes(
            [[(x - 2, y + size * 0.4), (x + size / 2, y + size), (x + size * 1.4, y - size * 0.5)]],
            thickness=2.5,
        )


def circled(page: Page, x: float, y: float, size: float) -> None:
    """A hand-drawn ring around a printed number."""
    ring = np.array(disk(x, y, size)) * 1.0 + page.random.normal(0, size * 0.08, (18, 2))
    page.canvas.strokes([[*ring, ring[0]]], thickness=2.2)
