"""The report's charts, each drawn from the run's figures (the content of `metrics.json`)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from launch.report.plotting import BLUE, CELL, INK, LINE, MUTED, ORANGE, VERMILION, new_figure
from trainer.config import STACK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 10.0
"""Inches; the report shows a chart at its full width, so 8 points read as 12 pixels and more."""

MOST_CELLS_WITH_TEXT = 30
"""Classes up to which a confusion matrix has its numbers written in."""

Figures = Mapping[str, Any]


def accuracy_chart(data: Figures) -> "Figure | None":
    """Test accuracy of every model with its 95% interval, one row each, the stack last."""
    rows = [(name, model["test"]) for name, model in data["models"].items() if model.get("test", {}).get("count")]
    if not rows:
        return None
    figure = new_figure(WIDTH, 0.75 + 0.34 * len(rows))
    axes = figure.subplots()
    for place, (name, test) in enumerate(rows):
        low, high = test["accuracy_interval"]
        colour = VERMILION if name == STACK else BLUE
        axes.plot([low, high], [place, place], color=colour, linewidth=4, alpha=0.4, solid_capstyle="butt")
        axes.plot(test["accuracy"], place, "D" if name == STACK else "o", color=colour, markersize=6.5)
        axes.annotate(
            f"{test['accuracy']:.1%}",
            (high, place),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold" if name == STACK else "normal",
        )
    _names(axes, [name for name, _ in rows])
    lowest = min(test["accuracy_interval"][0] for _, test in rows)
    axes.set_xlim(max(0.0, np.floor(lowest * 10 - 0.2) / 10), 1.035)
    _percent(axes, "x")
    axes.set_xlabel("test accuracy, with 95% interval (Wilson)")
    axes.grid(axis="y", visible=False)
    return figure


def confusion_chart(data: Figures, name: str) -> "Figure | None":
    """Confusion matrix of one model on the test set: the shares of each true class, and counts."""
    matrix = np.array(data["models"][name].get("test", {}).get("confusion", ()), dtype=np.int64)
    if matrix.size == 0:
        return None
    classes = len(matrix)
    totals = matrix.sum(axis=1)
    shares = matrix / np.maximum(totals, 1)[:, None]
    figure = new_figure(WIDTH, 2.1 + 0.4 * min(classes, 24))
    axes = figure.subplots()
    axes.pcolormesh(shares, cmap=_see_through(CELL), vmin=0, vmax=1, edgecolors=LINE, linewidth=0.5)
    axes.invert_yaxis()
    names = [entry["name"] for entry in data["classes"]]
    rows = [f"{label}  ({total})" for label, total in zip(names, totals, strict=True)]
    centres = np.arange(classes) + 0.5
    size = min(8.0, 400.0 / classes)
    axes.set_yticks(centres, rows, color=INK, fontsize=size)
    axes.set_xticks(centres, names, rotation=40, ha="left", rotation_mode="anchor", color=INK, fontsize=size)
    axes.xaxis.tick_top()
    axes.set_xlabel("predicted class", labelpad=6)
    axes.xaxis.set_label_position("bottom")
    axes.set_ylabel("true class (test pages)")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if classes <= MOST_CELLS_WITH_TEXT:
        _write_cells(axes, matrix, shares)
    return figure


def _write_cells(axes: "Axes", matrix: Any, shares: Any) -> None:
    """Share in percent and, below it, the count, in every cell that holds a page."""
    for row, column in zip(*np.nonzero(matrix), strict=True):
        share = shares[row, column]
        colour = "white" if share > 0.75 else INK
        weight = "bold" if row == column else "normal"
        axes.text(
            column + 0.5,
            row + 0.42,
            f"{share:.0%}",
            ha="center",
            va="center",
            color=colour,
            fontsize=8,
            fontweight=weight,
        )
        axes.text(
            column + 0.5,
            row + 0.78,
            str(matrix[row, column]),
            ha="center",
            va="center",
            fontsize=6,
            color=colour if share > 0.25 else MUTED,
        )


def per_class_chart(data: Figures, final: str, *, reference: str | None) -> "Figure | None":
    """Accuracy of each class (recall) by the final model, with interval, and a mark for the reference."""
    from trainer.scoring.metrics import wilson_interval

    rows = data["models"][final].get("test", {}).get("per_class", ())
    shown = [i for i, row in enumerate(rows) if row["count"]]
    if not shown:
        return None
    order = sorted(shown, key=lambda i: rows[i]["recall"], reverse=True)
    figure = new_figure(WIDTH, 0.9 + 0.3 * len(order))
    axes = figure.subplots()
    for place, index in enumerate(order):
        row = rows[index]
        low, high = wilson_interval(round(row["recall"] * row["count"]), row["count"])
        axes.barh(place, row["recall"], height=0.62, color=BLUE, alpha=0.85, label=final if place == 0 else None)
        axes.plot([low, high], [place, place], color=INK, linewidth=1.1)
        axes.text(1.015, place, f"{row['recall']:.0%}", va="center", fontsize=8)
    if reference is not None:
        others = data["models"][reference]["test"]["per_class"]
        values = [others[i]["recall"] for i in order]
        axes.plot(
            values,
            range(len(order)),
            "D",
            color=ORANGE,
            markeredgecolor=INK,
            markeredgewidth=0.6,
            markersize=5.5,
            linestyle="none",
            label=reference,
        )
    _names(axes, [f"{data['classes'][i]['name']}  ({rows[i]['count']})" for i in order])
    axes.set_xlim(0, 1.07)
    _percent(axes, "x")
    axes.set_xlabel("share of the class's test pages that were recognised; line: 95% interval")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def curves_chart(data: Figures) -> "Figure | None":
    """Learning curves: one row a job, with loss, accuracy and learning rate by epoch."""
    jobs = [(name, model["epochs"]) for name, model in data["models"].items() if model["epochs"]]
    if not jobs:
        return None
    height = 0.75 + 1.55 * len(jobs)
    figure = new_figure(WIDTH, height, layout=None)  # the layout engine takes seconds for so many axes
    figure.subplots_adjust(0.05, 0.42 / height, 0.99, 1 - 0.5 / height, wspace=0.2, hspace=0.38)
    grid = figure.subplots(len(jobs), 3, squeeze=False)
    for row, (name, epochs) in enumerate(jobs):
        best = data["models"][name]["result"].get("best_epoch")
        _curves(grid[row][0], epochs, key="loss", best=best)
        _curves(grid[row][1], epochs, key="accuracy", best=best)
        _curves(grid[row][2], epochs, key="learning_rate", best=None)
        grid[row][1].set_ylim(0, 1.03)
        _percent(grid[row][1], "y")
        for axes, title in zip(grid[row], ("loss", "accuracy", "learning rate"), strict=True):
            axes.set_title(f"{name}: {title}" if axes is grid[row][0] else title)
            _whole_epochs(axes, [epoch["epoch"] for epoch in epochs])
            if row == len(jobs) - 1:
                axes.set_xlabel("epoch")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=3)
    return figure


def _curves(axes: "Axes", epochs: Sequence[Mapping[str, Any]], *, key: str, best: int | None) -> None:
    """The curves of one quantity; a ring marks the epoch whose weights were kept."""
    from matplotlib.ticker import MaxNLocator

    kinds = (("train_", "training", ORANGE, "--"), ("val_", "validation", BLUE, "-"))
    for prefix, label, colour, line in kinds if key != "learning_rate" else (("", "", MUTED, "-"),):
        points = [(e["epoch"], e[prefix + key]) for e in epochs if e.get(prefix + key) is not None]
        if not points:
            continue
        axes.plot(
            *zip(*points, strict=True),
            line,
            color=colour,
            marker=".",
            markersize=5,
            label=label or None,
            drawstyle="steps-mid" if key == "learning_rate" else "default",
        )
        chosen = [point for point in points if point[0] == best and prefix == "val_"]
        if chosen:
            axes.plot(
                *chosen[0],
                "o",
                color="none",
                markeredgecolor=VERMILION,
                markersize=9,
                markeredgewidth=1.5,
                linestyle="none",
                label="epoch kept",
                clip_on=False,
            )
    if key == "learning_rate":
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0, 1.1 * max((e.get(key) or 0.0 for e in epochs), default=0.0) or 1.0)


def _whole_epochs(axes: "Axes", epochs: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


def _names(axes: "Axes", names: Sequence[str]) -> None:
    """Names of the rows of a chart, the first on top."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.spines["left"].set_visible(False)


def _percent(axes: "Axes", which: str) -> None:
    from matplotlib.ticker import PercentFormatter

    (axes.xaxis if which == "x" else axes.yaxis).set_major_formatter(PercentFormatter(1.0, decimals=0))


def _see_through(colour: str) -> Any:
    """A colour map from nothing to `colour`: the ground shows through, be it light or dark."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    return LinearSegmentedColormap.from_list("share", [(*to_rgb(colour), 0.0), (*to_rgb(colour), 1.0)])
