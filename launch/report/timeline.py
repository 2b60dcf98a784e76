"""The timeline of a run: when each job ran, with idle stretches shortened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launch.report.plotting import BLUE, INK, LINE, MUTED, ORANGE, PAPER, VERMILION, WIDTH, new_figure
from launch.report.schema import TimelineRow
from launch.terminal.wording import counted, duration, group_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IDLE_SHARE = 0.15
"""An idle stretch is shortened if it is longer than this share of the busy time."""

CUT_SHARE = 0.04
"""Width of a shortened stretch, as a share of the busy time."""

_MIN_BAR_SHARE = 0.002
_FILLS = {"done": BLUE, "running": ORANGE, "failed": VERMILION}

Bars = Sequence[tuple[TimelineRow, float, float]]
"""Attempts with their start and end on the axis, in seconds."""


@dataclass(frozen=True)
class Cut:
    """A shortened idle stretch: its start and width on the axis, its real length, and when it began; in seconds."""

    start: float
    width: float
    seconds: float
    moment: float


def find_cuts(spans: Sequence[tuple[float, float]]) -> list[Cut]:
    """The idle stretches to shorten, for the spans (start, end in seconds) of all attempts."""
    ordered = sorted(spans)
    gaps, reach, busy = [], ordered[0][0], 0.0
    for start, end in ordered:
        if start > reach:
            gaps.append((reach, start))
        busy += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    cuts: list[Cut] = []
    removed = 0.0
    for start, end in gaps:
        width = CUT_SHARE * busy
        if end - start > max(IDLE_SHARE * busy, width):
            cuts.append(Cut(start - ordered[0][0] - removed, width, end - start, start))
            removed += end - start - width
    return cuts


def on_axis(moment: float, origin: float, *, cuts: Sequence[Cut]) -> float:
    """Position on the axis, in seconds, of a moment outside the shortened stretches."""
    return moment - origin - sum(cut.seconds - cut.width for cut in cuts if moment >= cut.moment + cut.seconds)


def timeline_chart(rows: Sequence[TimelineRow], jobs: Sequence[str]) -> "Figure | None":
    """A row for every job with a bar for every attempt, in the order of `jobs`; None without attempts."""
    if not rows:
        return None
    spans = [(row["started"], row["ended"]) for row in rows]
    origin, cuts = min(start for start, _ in spans), find_cuts(spans)
    bars = [(row, on_axis(row["started"], origin, cuts=cuts), on_axis(row["ended"], origin, cuts=cuts)) for row in rows]
    length = max(end for _, _, end in bars) or 1.0
    unit, name = (1.0, "seconds") if length < 180 else (60.0, "minutes") if length < 10800 else (3600.0, "hours")
    started = [job for job in jobs if any(row["job"] == job for row in rows)]
    figure = new_figure(WIDTH, 0.36 * len(started) + 1.0)
    axes = figure.subplots()
    _draw_bars(axes, bars, jobs=started, unit=unit)
    _label_jobs(axes, bars, jobs=started, unit=unit)
    _draw_cuts(axes, cuts, unit=unit)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, length / unit * 1.005)
    axes.set_xlabel(f"{name} since the start" + (", idle stretches shortened" if cuts else ""))
    return figure


def _draw_bars(axes: "Axes", bars: Bars, *, jobs: Sequence[str], unit: float) -> None:
    """A bar for every attempt, colored by its outcome."""
    length = max(end for _, _, end in bars)
    for row, start, end in bars:
        axes.barh(
            jobs.index(row["job"]),
            max(end - start, length * _MIN_BAR_SHARE) / unit,
            left=start / unit,
            height=0.62,
            color=_FILLS.get(row["outcome"], MUTED),
            hatch="////" if row["outcome"] in ("failed", "stopped") else None,
            edgecolor=PAPER,
            linewidth=0.6,
        )
    axes.set_yticks(range(len(jobs)), jobs, color=INK)
    axes.set_ylim(len(jobs) - 0.45, -0.55)


def _label_jobs(axes: "Axes", bars: Bars, *, jobs: Sequence[str], unit: float) -> None:
    """The group of each job, on the side of its bars that has more room."""
    length = max(end for _, _, end in bars)
    for place, job in enumerate(jobs):
        own = [bar for bar in bars if bar[0]["job"] == job]
        first, last = min(start for _, start, _ in own), max(end for _, _, end in own)
        left_side = first > length - last
        axes.annotate(
            _job_text([row for row, _, _ in own]),
            ((first if left_side else last) / unit, place),
            (-4 if left_side else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if left_side else "left",
            fontsize=7.5,
        )


def _job_text(rows: Sequence[TimelineRow]) -> str:
    """The group of the last attempt, its outcome unless it is done, and the number of attempts if there are several."""
    last = rows[-1]
    parts = [group_text(last["group"])]
    parts += [last["outcome"]] if last["outcome"] != "done" else []
    parts += [counted(len(rows), "attempt")] if len(rows) > 1 else []
    return " · ".join(part for part in parts if part)


def _draw_cuts(axes: "Axes", cuts: Sequence[Cut], *, unit: float) -> None:
    for cut in cuts:
        axes.axvspan(cut.start / unit, (cut.start + cut.width) / unit, color=LINE, alpha=0.6, linewidth=0)
        axes.text(
            (cut.start + cut.width / 2) / unit,
            0.5,
            f"idle {duration(cut.seconds)}",
            transform=axes.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            fontsize=7,
            color=MUTED,
        )
