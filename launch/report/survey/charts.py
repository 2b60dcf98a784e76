"""The charts of a survey: page sizes and class balance by split."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.data_set import SPLITS
from data_tools.survey.measure import PageMeasure
from data_tools.survey.schema import ClassCounts
from launch.report.plotting import BLUE, INK, MUTED, ORANGE, PURPLE, WIDTH, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"train": BLUE, "val": ORANGE, "test": PURPLE}
_MARKS = {"train": "o", "val": "D", "test": "s"}
_BINS = 40
_EDGE_SHARE = 0.005

Measures = Mapping[str, Sequence[PageMeasure]]


def size_chart(measures: Measures) -> "Figure | None":
    """Histograms of width, height, aspect ratio and ink of the readable pages, one curve per split."""
    if not any(measures.values()):
        return None
    figure = new_figure(WIDTH, 5.2)
    grid = figure.subplots(2, 2)
    columns: tuple[tuple[str, str, Callable[[PageMeasure], float]], ...] = (
        ("width", "pixels", lambda page: page.width),
        ("height", "pixels", lambda page: page.height),
        ("aspect ratio", "width / height", lambda page: page.width / page.height),
        ("ink", "share of dark pixels", lambda page: page.ink),
    )
    for axes, (title, unit, value) in zip(grid.ravel(), columns, strict=True):
        values = {split: np.array([value(page) for page in measures[split]], np.float64) for split in SPLITS}
        _histogram(axes, {split: found for split, found in values.items() if len(found)})
        axes.set_title(title)
        axes.set_xlabel(unit)
        if title == "ink":
            percent_axis(axes, "x", decimals=None)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return figure


def _histogram(axes: "Axes", values: Mapping[str, NDArray[np.float64]]) -> None:
    """Share of each split's pages per bin; the first and last bins include all values beyond them."""
    together = np.concatenate(list(values.values()))
    low, high = np.quantile(together, [_EDGE_SHARE, 1 - _EDGE_SHARE])
    margin = max(0.04 * (high - low), 0.05 * abs(high) if high == low else 0.0, 1e-3)
    edges = np.linspace(max(low - margin, 0.0), high + margin, _BINS + 1)
    top = 0.0
    for split, found in values.items():
        counts, _ = np.histogram(np.clip(found, edges[0], edges[-1]), edges)
        shares = counts / len(found)
        top = max(top, float(shares.max()))
        axes.stairs(shares, edges, fill=True, color=COLORS[split], alpha=0.16)
        axes.stairs(shares, edges, color=COLORS[split], linewidth=1.5, label=f"{split}  ({len(found):,})")
    axes.set_ylim(0, 1.08 * top)
    axes.set_ylabel("share of pages")
    percent_axis(axes, "y", decimals=None)


def class_chart(classes: Sequence[ClassCounts]) -> "Figure | None":
    """Each class's share of every split, with a line at the share of balanced classes."""
    counts = {
        "train": np.array([entry["train"] for entry in classes]),
        "val": np.array([entry["val"] for entry in classes]),
        "test": np.array([entry["test"] for entry in classes]),
    }
    totals = {split: int(count.sum()) for split, count in counts.items()}
    if not classes or not any(totals.values()):
        return None
    figure = new_figure(WIDTH, 0.95 + 0.27 * len(classes))
    axes = figure.subplots()
    even = 1 / len(classes)
    axes.axvline(even, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(even, -0.75, " balanced", color=MUTED, fontsize=7.5, va="bottom", ha="left")
    rows = np.arange(len(classes))
    shares = {split: count / totals[split] for split, count in counts.items() if totals[split]}
    spread = np.stack(list(shares.values()))
    axes.hlines(rows, spread.min(axis=0), spread.max(axis=0), color=MUTED, linewidth=1, alpha=0.5)
    for split, found in shares.items():
        axes.plot(found, rows, _MARKS[split], color=COLORS[split], markersize=6, alpha=0.9,
                  label=f"{split}  ({totals[split]:,})", linestyle="none")  # fmt: skip
    axes.set_yticks(rows, [entry["name"] for entry in classes], color=INK)
    axes.set_ylim(len(classes) - 0.45, -0.75)
    axes.set_xlim(0, max(float(spread.max()) * 1.08, even * 1.5))
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("share of the split")
    percent_axis(axes, "x", decimals=None)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure
