"""Drawing a figure once and giving it out twice: as a PNG, and as SVG that follows the page's theme."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_tools.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1f2329", "#626b77", "#d5dae1", "#fefefe"
"""Colours of text, secondary text, rules and ground; in the page's SVG they become its style's variables."""

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
"""Okabe and Ito's palette, which people with any colour vision can tell apart."""

CELL = "#0071b3"
"""`BLUE` for filled cells with white text on them, the same on a light and a dark page."""

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
    "text.parse_math": False,  # a class may be called "$5 bill"
    "xtick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings under which all our figures are made and saved."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> "Figure":
    """An empty figure of so many inches, without a window system; by default it lays itself out."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def save(draw: Callable[[], "Figure | None"], folder: Path, name: str) -> str | None:
    """Draw a figure, write `<folder>/<name>.png`, return it as inline SVG; None if nothing is to draw."""
    with style():
        figure = draw()
        if figure is None:
            return None
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.set_layout_engine("none")  # it is laid out now, and once more would cost as much as drawing
        figure.savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    write_atomically(folder / f"{name}.png", png.getvalue())
    return themed(svg.getvalue(), name)


def themed(svg: str, name: str) -> str:
    """An SVG document as an element of a page: ids made unique by `name`, colours from the page's style."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]+"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg
