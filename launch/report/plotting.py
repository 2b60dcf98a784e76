"""Draws a figure once and saves it twice: as PNG, and as inline SVG that follows the page's theme."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_tools.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 10.0
"""Inches. The page shows a figure at its full width, where 8 points are at least 12 pixels."""

INK, MUTED, LINE, PAPER = "#1f2329", "#626b77", "#d5dae1", "#fefefe"
"""Colors of text, secondary text, lines and background; in inline SVG they become the page's CSS variables."""

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
"""The palette of Okabe and Ito, distinguishable with any color vision."""

CELL = "#0071b3"
"""`BLUE` for filled cells with white text; not replaced by a CSS variable, so equal on light and dark pages."""

_THEME = {INK: "--ink", MUTED: "--muted", LINE: "--line", PAPER: "--paper", BLUE: "--blue"}

_STYLE: dict[str, Any] = {
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a class name may contain $
    "xtick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings for drawing and saving every figure."""
    # Without a home to write, it warns in two lines that its cache is a temporary folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> "Figure":
    """An empty figure of `width` x `height` inches that needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def percent_axis(axes: "Axes", which: Literal["x", "y"], *, decimals: int | None = 0) -> None:
    """Label an axis of shares in percent; `decimals` None: as many as the range needs."""
    from matplotlib.ticker import PercentFormatter

    (axes.xaxis if which == "x" else axes.yaxis).set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def save(draw: Callable[[], "Figure | None"], path: Path, *, keep: bool = True) -> str | None:
    """Write the figure as a PNG file and return it as inline SVG; None if there is nothing to draw.

    keep: False writes no file; the ids of the SVG still follow its name.
    """
    with style():
        figure = draw()
        if figure is None:
            return None
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        if keep:
            figure.set_layout_engine("none")  # already laid out; a second pass takes as long as drawing
            figure.savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
            write_atomically(path, png.getvalue())
    return themed(svg.getvalue(), path.stem)


def png_of_figure(draw: Callable[[], "Figure"]) -> bytes:
    """A figure as a PNG on white; the same figure gives the same bytes."""
    png = io.BytesIO()
    with style():
        draw().savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return png.getvalue()


def themed(svg: str, name: str) -> str:
    """An SVG document as an element of a page: ids prefixed with `name`, colors as CSS variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]+"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    for color, variable in _THEME.items():
        svg = svg.replace(color, f"var({variable}, {color})")
    return svg
