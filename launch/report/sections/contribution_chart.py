"""What the stack loses without each member, as a chart."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from launch.report.plotting import BLUE, INK, MUTED, WIDTH, new_figure
from trainer.scoring.schema import ContributionFigures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def contribution_chart(rows: Mapping[str, ContributionFigures]) -> "Figure | None":
    """The accuracy that the stack gains by each member, in points with a 95% interval; None without members."""
    if not rows:
        return None
    figure = new_figure(WIDTH, 0.75 + 0.34 * len(rows))
    axes = figure.subplots()
    axes.axvline(0, color=MUTED, linewidth=1)
    for place, row in enumerate(rows.values()):
        low, high = (100 * bound for bound in row["difference_interval"])
        gain = 100 * row["difference"]
        axes.plot([low, high], [place, place], color=BLUE, linewidth=4, alpha=0.4, solid_capstyle="butt")
        axes.plot(gain, place, "o", color=BLUE, markersize=6.5)
        axes.annotate(f"{gain:+.1f}", (high, place), (7, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), list(rows), color=INK)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.set_xlabel("points of test accuracy that the stack gains by this model; line: 95% interval")
    axes.grid(axis="y", visible=False)
    return figure
