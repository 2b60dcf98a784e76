"""The timeline of a run: when each job ran, and on which slots, with idle stretches cut out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launch.report.plotting import BLUE, INK, LINE, MUTED, ORANGE, PAPER, SERIES, VERMILION, new_figure
from launch.wording import duration
from trainer.config import STACK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IDLE_SHARE = 0.15
"""A stretch in which nothing ran is cut out when longer than this share of the busy time."""

CUT_SHARE = 0.04
"""Width that a cut stretch keeps, as a share of the busy time."""

MOST_SLOT_ROWS = 32

Bars = Sequence[tuple[Mapping[str, Any], float, float]]
"""Attempts with the places of their start and end on the axis, in seconds."""


@dataclass(frozen=True)
class Cut:
    """An idle stretch that is not drawn to scale: its place and width on the axis, its true length."""

    start: float
    width: float
    seconds: float
    moment: float


def find_cuts(spans: Sequence[tuple[float, float]]) -> list[Cut]:
    """The idle stretches to cut out, for the spans (start, end in seconds) of all jobs."""
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
    """Place on the axis, in seconds, of a moment outside of the cut stretches."""
    return moment - origin - sum(cut.seconds - cut.width for cut in cuts if moment >= cut.moment + cut.seconds)


def timeline_chart(rows: Sequence[Mapping[str, Any]], jobs: Sequence[str]) -> "Figure | None":
    """Two charts over one time axis: a row for every job, and a row for every slot."""
    if not rows:
        return None
    spans = [(row["started"], row["ended"]) for row in rows]
    origin, cuts = min(start for start, _ in spans), find_cuts(spans)
    bars = [(row, on_axis(row["started"], origin, cuts=cuts), on_axis(row["ended"], origin, cuts=cuts)) for row in rows]
    length = max(end for _, _, end in bars) or 1.0
    unit, name = (1.0, "seconds") if length < 180 else (60.0, "minutes") if length < 10800 else (3600.0, "hours")
    ran = [job for job in jobs if any(row["job"] == job for row in rows)]
    slots = slot_rows(rows)
    heights = [0.36 * len(ran) + 0.3, *([0.2 * len(slots) + 0.3] if slots else [])]
    figure = new_figure(10.0, sum(heights) + 0.8)
    grid = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)
    colours = {job: MUTED if job == STACK else SERIES[place % len(SERIES)] for place, job in enumerate(ran)}
    _job_bars(grid[0][0], bars, jobs=ran, unit=unit)
    if slots:
        _slot_bars(grid[1][0], bars, slots=slots, colours=colours, unit=unit)
    for axes in grid[:, 0]:
        _mark_cuts(axes, cuts, unit=unit)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, length / unit * 1.005)
    grid[-1][0].set_xlabel(f"{name} since the start" + (", idle stretches cut out" if cuts else ""))
    return figure


def slot_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The (host, slot) pairs that attempts with exactly one host, or slots that name their host, ran on."""
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        for pair in slots_of(row):
            found[pair] = None
    ordered = sorted(found, key=lambda pair: (pair[0], len(pair[1]), pair[1]))
    return ordered if len(ordered) <= MOST_SLOT_ROWS else []


def slots_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (host, slot) pairs of one attempt; a slot is "host:number", or a number on a single host."""
    hosts = list(row["group"])
    pairs = []
    for slot in row["slots"]:
        host, colon, number = str(slot).rpartition(":")
        if colon:
            pairs.append((host, number))
        elif len(hosts) == 1:
            pairs.append((hosts[0], number))
    return pairs


def _job_bars(axes: "Axes", bars: Bars, *, jobs: Sequence[str], unit: float) -> None:
    """A bar for every attempt, coloured by how it ended, with its group beside it."""
    fills = {"done": BLUE, "running": ORANGE, "failed": VERMILION}
    end_of_axis = max(end for _, _, end in bars)
    for row, start, end in bars:
        place = jobs.index(row["job"])
        fill = fills.get(row["outcome"], MUTED)
        axes.barh(
            place,
            max(end - start, end_of_axis * 0.002) / unit,
            left=start / unit,
            height=0.62,
            color=fill,
            hatch="////" if row["outcome"] in ("failed", "stopped") else None,
            edgecolor=PAPER,
            linewidth=0.6,
        )
    for place, job in enumerate(jobs):
        own = [bar for bar in bars if bar[0]["job"] == job]
        left, right = min(start for _, start, _ in own), max(end for _, _, end in own)
        before = left > end_of_axis - right
        axes.annotate(
            _job_text([row for row, _, _ in own]),
            ((left if before else right) / unit, place),
            (-4 if before else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if before else "left",
            fontsize=7.5,
        )
    axes.set_yticks(range(len(jobs)), jobs, color=INK)
    axes.set_ylim(len(jobs) - 0.45, -0.55)
    axes.set_title("jobs")


def _job_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where the last attempt ran, how it stands if it is not done, and how many there were."""
    last = rows[-1]
    parts = [", ".join(f"{host} ×{count}" for host, count in last["group"].items())]
    parts += [str(last["outcome"])] if last["outcome"] != "done" else []
    parts += [f"{len(rows)} attempts"] if len(rows) > 1 else []
    return " · ".join(part for part in parts if part)


def _slot_bars(
    axes: "Axes",
    bars: Bars,
    *,
    slots: Sequence[tuple[str, str]],
    colours: Mapping[str, str],
    unit: float,
) -> None:
    """Which job held each slot when."""
    for row, start, end in bars:
        held = [slots.index(pair) for pair in slots_of(row) if pair in slots]
        for place in held:
            axes.barh(
                place,
                (end - start) / unit,
                left=start / unit,
                height=0.8,
                color=colours[row["job"]],
                edgecolor=PAPER,
                linewidth=0.6,
                alpha=0.9,
            )
    axes.set_yticks(range(len(slots)), [f"{host} : {slot}" for host, slot in slots], color=INK)
    axes.set_ylim(len(slots) - 0.45, -0.55)
    axes.set_title("slots")
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, label=job) for job, colour in colours.items()]
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=min(len(handles), 8),
        fontsize=7,
        handlelength=1,
        columnspacing=1,
        borderaxespad=0.1,
    )


def _mark_cuts(axes: "Axes", cuts: Sequence[Cut], *, unit: float) -> None:
    for cut in cuts:
        axes.axvspan(cut.start / unit, (cut.start + cut.width) / unit, color=LINE, alpha=0.6, linewidth=0)
        middle = (cut.start + cut.width / 2) / unit
        axes.text(
            middle,
            0.5,
            f"idle {duration(cut.seconds)}",
            transform=axes.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            fontsize=7,
            color=MUTED,
        )
