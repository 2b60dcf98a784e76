"""The figure of `regionstack plan --scaling`: hours of the whole recipe against GPUs."""

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.planning.estimate import HOUR, Estimate, stops_at
from launch.report.pictures import BLUE, INK, MUTED, SERIES, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("compute", "fixed cost of a step", "all-reduce", "reading", "evaluation", "start-up")
"""The parts of the run's time, in the order in which they are stacked and coloured."""


def draw(steps: Sequence[Estimate], best: Sequence[Estimate], words: str, *, kind: str) -> bytes:
    """The figure as a file of `kind` (svg, png). `best`: the same with all gradients hidden behind computing."""
    import matplotlib

    # The same table gives the same file, also where it is kept under version control.
    with style(), matplotlib.rc_context({"svg.hashsalt": "scaling"}):
        figure = _figure(steps, best, words)
        file = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return file.getvalue()


def _figure(steps: Sequence[Estimate], best: Sequence[Estimate], words: str) -> "Figure":
    figure = new_figure(9.0, 6.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    places = list(range(len(steps)))
    ideal = [steps[0].seconds / HOUR / one.slots for one in steps]
    above.plot(places, ideal, color=MUTED, linestyle=":", label="twice the GPUs, half the time")
    hours, least = ([one.seconds / HOUR for one in each] for each in (steps, best))
    above.fill_between(places, least, hours, color=BLUE, alpha=0.18, linewidth=0)
    above.plot(places, hours, "o-", color=BLUE, label="gradients sent after the backward pass")
    above.plot(places, least, "--", color=BLUE, label="gradients hidden behind it")
    _mark(above, steps, hours)
    above.set_yscale("log")
    above.set_ylabel("hours, whole recipe")
    above.set_yticks(_ticks(min(least), max(hours)))
    above.set_ylim(min(least) / 1.8, max(hours) * 1.5)
    above.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    above.yaxis.set_minor_locator(_no_ticks())
    above.set_title(textwrap.fill(words, 100))
    above.legend(loc="upper right")
    _stack(below, steps, places)
    below.set_xticks(places, [str(one.slots) for one in steps])
    below.set_xlabel("GPUs, 8 a host")
    return figure


def _mark(axes: "Axes", steps: Sequence[Estimate], hours: Sequence[float]) -> None:
    last = stops_at(steps)
    place = list(steps).index(last)
    axes.annotate(
        f"{last.slots} GPUs: twice as many\nare no longer {1.25:g} times as fast",
        (place, hours[place]),
        (10, 34),
        textcoords="offset points",
        color=INK,
        arrowprops={"arrowstyle": "-", "color": MUTED},
    )


def _stack(axes: "Axes", steps: Sequence[Estimate], places: Sequence[int]) -> None:
    """What the time is spent on, as shares of it."""
    bottom = [0.0] * len(steps)
    for name, colour in zip(NAMES, SERIES, strict=True):
        shares = [one.shares().get(name, 0.0) / one.seconds for one in steps]
        axes.bar(places, shares, 0.7, bottom, color=colour, label=name)
        bottom = [low + share for low, share in zip(bottom, shares, strict=True)]
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_ylabel("of the time")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two, and one beyond each end."""
    every = [factor * 10.0**power for power in range(-3, 6) for factor in (1, 2, 5)]
    inside = [tick for tick in every if low <= tick <= high]
    return [max(t for t in every if t < low), *inside, min(t for t in every if t > high)]


def _no_ticks() -> "object":
    from matplotlib.ticker import NullLocator

    return NullLocator()
