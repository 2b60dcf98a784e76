"""Regions of a page: named fractional boxes and the pixels that they cover."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_tools.errors import UserError

HOLISTIC = "holistic"
"""Name of the region that is the whole page; every data set has it."""


@dataclass(frozen=True)
class Box:
    """A rectangle in fractions of the page's width (left, right) and height (top, bottom).

    Raises:
        UserError: an edge outside [0, 1], or a box without area.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        """Check the edges."""
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise UserError(f"box {list(self.edges)}: must be 0 <= left < right <= 1, 0 <= top < bottom <= 1")

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return (self.left, self.top, self.right, self.bottom)


WHOLE_PAGE = Box(0.0, 0.0, 1.0, 1.0)

PRESETS: dict[str, dict[str, Box]] = {
    "halves": {
        "top": Box(0.0, 0.0, 1.0, 0.5),
        "bottom": Box(0.0, 0.5, 1.0, 1.0),
        "left": Box(0.0, 0.0, 0.5, 1.0),
        "right": Box(0.5, 0.0, 1.0, 1.0),
    },
    # Das et al. 2018 (arXiv 1801.09321): of 780 rows, header and footer take 256 each, the body the middle 400.
    "das2018": {
        "header": Box(0.0, 0.0, 1.0, 0.328),
        "footer": Box(0.0, 0.672, 1.0, 1.0),
        "left_body": Box(0.0, 0.244, 0.5, 0.756),
        "right_body": Box(0.5, 0.244, 1.0, 0.756),
    },
}
"""Named sets of regions, without the whole page."""


def parse_regions(value: str | Mapping[str, Sequence[float]]) -> dict[str, Box]:
    """The regions of configuration key `regions`: a preset's name, or `{name: [left, top, right, bottom]}`.

    Edges are fractions of the page's width and height. The whole page is not among the result.

    Raises:
        UserError: an unknown preset, an invalid region name, or an invalid box; names the key.
    """
    if isinstance(value, str):
        if value not in PRESETS:
            raise UserError(f"regions: {value} is not a preset ({', '.join(sorted(PRESETS))}) and not a mapping")
        return dict(PRESETS[value])
    regions = {}
    for name, edges in value.items():
        check_name(name)
        if name == HOLISTIC:
            raise UserError(f"regions.{name}: the whole page has this name and always exists; choose another name")
        try:
            left, top, right, bottom = (float(edge) for edge in edges)
            regions[name] = Box(left, top, right, bottom)
        except (TypeError, ValueError):
            raise UserError(f"regions.{name}: expected [left, top, right, bottom], found {edges!r}") from None
        except UserError as error:
            raise UserError(f"regions.{name}: {error}") from None
    return regions


def check_name(name: str) -> None:
    """Check that a region name is a valid folder name on every system.

    Raises:
        UserError: the name is empty, long, or has other characters than letters, digits, `_` and `-`.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise UserError(
            f"regions.{name}: not a valid region name; use at most 64 letters, digits, `_` and `-`, "
            "beginning with a letter or digit"
        )


def pixel_box(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """Rows y0:y1 and columns x0:x1 of `box` on a page of `height` x `width` pixels, as (y0, y1, x0, x1).

    Edges are rounded to the nearest pixel, so that boxes with a common edge share no pixel. At least one pixel remains.
    """
    y0, y1 = _pixels(box.top, box.bottom, height)
    x0, x1 = _pixels(box.left, box.right, width)
    return y0, y1, x0, x1


def _pixels(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(_round(start * length), length - 1)
    return first, max(_round(end * length), first + 1)


def _round(value: float) -> int:
    # Half up: round() goes to the even neighbor, so its direction would depend on the page size.
    return int(value + 0.5)
