"""The charts of confidence: reliability before and after scaling, and risk by coverage."""

from typing import TYPE_CHECKING

from launch.report.confidence.schema import ConfidenceFigures
from launch.report.plotting import BLUE, INK, MUTED, ORANGE, VERMILION, WIDTH, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST, LARGEST = 3.0, 13.0
"""Diameters in points of the markers of a bin with few and with all pages."""


def confidence_chart(confidence: ConfidenceFigures | None) -> "Figure | None":
    """Left: reliability of the stack; right: share of errors among the most confident pages, and the threshold."""
    if confidence is None:
        return None
    figure = new_figure(WIDTH, 3.7)
    left, right = figure.subplots(1, 2)
    _draw_reliability(left, confidence)
    draw_risk(right, confidence)
    return figure


def _draw_reliability(axes: "Axes", confidence: ConfidenceFigures) -> None:
    """Accuracy by confidence; the larger a marker, the more pages."""
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
    styles = (("before", "o", ORANGE, "--", "as trained"), ("after", "D", BLUE, "-", "calibrated"))
    for key, marker, color, line, label in styles:
        bins = confidence["reliability"][key]
        total = sum(pages for *_, pages in bins)
        axes.plot([b[0] for b in bins], [b[1] for b in bins], line, color=color, linewidth=1.3, label=label)
        for sure, accuracy, pages in bins:
            size = SMALLEST + (LARGEST - SMALLEST) * (pages / total) ** 0.5
            axes.plot(sure, accuracy, marker, color=color, markersize=size, alpha=0.75)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.04)
    percent_axis(axes, "x")
    percent_axis(axes, "y")
    axes.set_title("reliability of the stack")
    axes.set_xlabel("confidence (larger marker: more test pages)")
    axes.set_ylabel("share of right answers")
    axes.legend(loc="upper left")


def draw_risk(axes: "Axes", confidence: ConfidenceFigures) -> None:
    """Risk by coverage, the wanted risk, and where the decisions of this run lie."""
    curve, wanted = confidence["curve"], 1 - confidence["precision"]
    axes.plot([c for c, _ in curve], [r for _, r in curve], color=BLUE, label="stack")
    axes.axhline(wanted, color=MUTED, linewidth=1, linestyle=":")
    accepted = confidence["decisions"]["accepted"]
    if accepted["accuracy"] is not None and accepted["interval"] is not None:
        risk, share = 1 - accepted["accuracy"], accepted["share"]
        low, high = (1 - bound for bound in accepted["interval"])
        axes.plot([share, share], [low, high], color=VERMILION, linewidth=1.3)
        axes.plot(share, risk, "D", color=VERMILION, markersize=6.5, label="accepted pages, 95% interval")
    highest = max([wanted, *(r for _, r in curve)])
    axes.annotate(f"wanted: {wanted:.0%}", (0.0, wanted), (2, 3), textcoords="offset points", color=INK)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.15 * highest)
    percent_axis(axes, "x")
    percent_axis(axes, "y", decimals=None)
    axes.set_title("errors among the most confident pages")
    axes.set_xlabel("coverage: share of the test pages that are answered")
    axes.set_ylabel("risk: share of wrong answers")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.93))
