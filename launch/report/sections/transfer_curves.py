"""The learning curves of all jobs in one figure: each job begins where the weights that it started from were saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from data_tools.documents.regions import HOLISTIC
from launch.report.plotting import INK, MUTED, PAPER, SERIES, WIDTH, new_figure, percent_axis
from launch.report.schema import RunFigures, TransferRow
from trainer.config import STACK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES = 12
"""Jobs beyond these are left to their own charts."""
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Curve:
    """One job on the common axis. region: that its model sees. offset: epochs of its weights before its first one.

    source: the job that it starts from; source_epoch: the epoch of it whose weights were taken. start: in words, of a
    job without such a source. values: by epoch of the job, from 1.
    """

    job: str
    region: str
    offset: int
    source: str | None
    source_epoch: int | None
    start: str
    values: Mapping[int, float]


def curves_of(data: RunFigures, quantity: Literal["val_accuracy", "val_loss"]) -> list[Curve]:
    """The curves of the jobs that have epochs, sources before what starts from them; without the stack and folds."""
    rows = {row["job"]: row for row in data["transfers"]}
    found: dict[str, Curve] = {}
    for name in _sources_first(data, rows):
        epochs = data["models"][name]["epochs"]
        values = {row["epoch"]: cast("Mapping[str, float | None]", row).get(quantity) for row in epochs}
        known = {epoch: value for epoch, value in values.items() if value is not None}
        if known and len(found) < MOST_CURVES:
            found[name] = _curve(name, data["models"][name]["region"], known, rows.get(name), found)
    return list(found.values())


def _curve(
    name: str, region: str, values: Mapping[int, float], row: TransferRow | None, before: Mapping[str, Curve]
) -> Curve:
    source = before.get(str(row["from"])) if row else None
    if row is None or source is None:
        return Curve(name, region, 0, None, None, _start(row), values)
    epoch = row["epoch"] or max(source.values)
    return Curve(name, region, source.offset + epoch, source.job, epoch, "", values)


def _start(row: TransferRow | None) -> str:
    """The weights that no job of the run has made, in words."""
    if row is None or not row["kind"]:
        return ""
    return f"{Path(row['from']).name} (level 1)" if row["kind"] == "weights" and row["from"] else "fresh weights"


def _sources_first(data: RunFigures, rows: Mapping[str, TransferRow]) -> list[str]:
    waiting = [
        name for name, model in data["models"].items() if name != STACK and model["epochs"] and "fold_of" not in model
    ]
    ordered: list[str] = []
    while waiting:
        ready = [name for name in waiting if name not in rows or rows[name]["from"] not in waiting]
        ordered += ready or waiting  # Jobs that name each other would wait without end.
        waiting = [name for name in waiting if name not in ordered]
    return ordered


def transfer_chart(data: RunFigures) -> "Figure | None":
    """Validation accuracy and loss of every job, with an arrow for each transfer of weights; None without an epoch."""
    if not curves_of(data, "val_accuracy"):
        return None
    figure = new_figure(WIDTH, 4.3)
    left, right = figure.subplots(1, 2)
    draw_transfers(left, curves_of(data, "val_accuracy"))
    left.set_title("validation accuracy")
    percent_axis(left, "y")
    draw_transfers(right, curves_of(data, "val_loss"))
    right.set_title("validation loss")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    return figure


def draw_transfers(axes: "Axes", curves: Sequence[Curve]) -> None:
    """The curves, each in a color, marker and line of its own, and the transfers between them."""
    from matplotlib.ticker import MaxNLocator

    by_name = {curve.job: curve for curve in curves}
    for place, curve in enumerate(curves):
        color = SERIES[place % len(SERIES)]
        moments = [curve.offset + epoch for epoch in curve.values]
        axes.plot(
            moments,
            list(curve.values.values()),
            _LINES[(place // len(SERIES)) % len(_LINES)],
            color=color,
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=4.5,
            markeredgecolor=PAPER,
            markeredgewidth=0.5,
            label=curve.job,
        )
        source = by_name.get(curve.source or "")
        taken = source.values.get(curve.source_epoch or 0) if source else None
        if taken is not None:
            _draw_transfer(axes, curve, (curve.offset, taken), color=color)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epochs, including those of the jobs that the weights come from")
    axes.margins(x=0.04, y=0.12)
    _name_transfers(axes, curves)


def _draw_transfer(axes: "Axes", curve: Curve, start: tuple[float, float], *, color: str) -> None:
    """A ring at the epoch whose weights were taken, and an arrow from it to the first epoch of the job."""
    axes.plot(*start, "o", color="none", markeredgecolor=INK, markersize=10, markeredgewidth=1.2, zorder=4)
    first = min(curve.values)
    axes.annotate(
        "",
        (curve.offset + first, curve.values[first]),
        start,
        arrowprops={"arrowstyle": "->", "color": color, "linewidth": 1.2, "linestyle": ":", "shrinkA": 5, "shrinkB": 3},
    )


def _name_transfers(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Beside each ring, the epoch that was taken and what starts from it; beside each other start, its weights."""
    by_name = {curve.job: curve for curve in curves}
    taken: dict[tuple[str, int], list[Curve]] = {}
    for curve in curves:
        source = by_name.get(curve.source or "")
        if source is not None and curve.source_epoch in source.values:
            taken.setdefault((source.job, curve.source_epoch or 0), []).append(curve)
        elif curve.start:
            first = min(curve.values)
            _write(axes, (curve.offset + first, curve.values[first]), curve.start)
    for (job, epoch), children in taken.items():
        place = by_name[job].offset + epoch, by_name[job].values[epoch]
        regions = all(curve.region != HOLISTIC for curve in children)
        what = children[0].job if len(children) == 1 else f"{len(children)} {'regions' if regions else 'jobs'}"
        _write(axes, place, f"epoch {epoch}, to {what}" + (" (level 2)" if regions else ""))


def _write(axes: "Axes", place: tuple[float, float], text: str) -> None:
    """A note on the side of a point that has more room."""
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    on_left, above = place[0] > (left + right) / 2, place[1] > (low + high) / 2
    axes.annotate(
        text,
        place,
        (-9 if on_left else 9, 9 if above else -9),
        textcoords="offset points",
        ha="right" if on_left else "left",
        va="bottom" if above else "top",
        fontsize=7.5,
        color=MUTED,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
        zorder=5,
    )
