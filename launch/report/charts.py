"""The charts of a report, drawn from the run's figures (`metrics.json`)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from launch.report.plotting import BLUE, CELL, INK, LINE, MUTED, ORANGE, VERMILION, WIDTH, new_figure, percent_axis
from launch.report.schema import RunFigures
from trainer.config import STACK
from trainer.scoring.schema import ClassRow, EpochRow, SplitFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES_WITH_TEXT = 30
"""A confusion matrix of more classes has no numbers in its cells."""


def tested_models(data: RunFigures) -> list[tuple[str, SplitFigures]]:
    """The models that have been scored on test pages, the stack last; those of folds are never."""
    tested = ((name, model["test"]) for name, model in data["models"].items() if "test" in model)
    return [(name, test) for name, test in tested if test["count"]]


def accuracy_chart(data: RunFigures) -> "Figure | None":
    """Test accuracy of every model with its 95% interval, one row each, the stack last."""
    rows = tested_models(data)
    if not rows:
        return None
    figure = new_figure(WIDTH, 0.75 + 0.34 * len(rows))
    draw_accuracy(figure.subplots(), rows)
    return figure


def draw_accuracy(axes: "Axes", rows: Sequence[tuple[str, SplitFigures]]) -> None:
    """A row for each of the models, at least one."""
    for place, (name, test) in enumerate(rows):
        low, high = test["accuracy_interval"]
        color = VERMILION if name == STACK else BLUE
        axes.plot([low, high], [place, place], color=color, linewidth=4, alpha=0.4, solid_capstyle="butt")
        axes.plot(test["accuracy"], place, "D" if name == STACK else "o", color=color, markersize=6.5)
        axes.annotate(
            f"{test['accuracy']:.1%}",
            (high, place),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold" if name == STACK else "normal",
        )
    _label_rows(axes, [name for name, _ in rows])
    lowest = min(test["accuracy_interval"][0] for _, test in rows)
    axes.set_xlim(max(0.0, np.floor(lowest * 10 - 0.2) / 10), 1.035)
    percent_axis(axes, "x")
    axes.set_xlabel("test accuracy with 95% interval (Wilson)")
    axes.grid(axis="y", visible=False)


def confusion_chart(data: RunFigures, name: str) -> "Figure | None":
    """Confusion matrix of one model on the test pages: shares of each true class, and counts."""
    matrix = confusion_of(data, name)
    if matrix.size == 0:
        return None
    figure = new_figure(WIDTH, 2.1 + 0.4 * min(len(matrix), 24))
    draw_confusion(figure.subplots(), matrix, [entry["name"] for entry in data["classes"]])
    return figure


def confusion_of(data: RunFigures, name: str) -> NDArray[np.int64]:
    """The confusion matrix of a model on the test pages, int64 [C, C]; of size 0 without one."""
    return np.array(data["models"][name].get("test", {}).get("confusion", ()), dtype=np.int64)


def draw_confusion(axes: "Axes", matrix: NDArray[np.int64], names: Sequence[str], *, small: bool = False) -> None:
    """A confusion matrix int64 [C, C] of at least one class. small: with shares alone, for less room."""
    classes, totals = len(matrix), matrix.sum(axis=1)
    axes.pcolormesh(_row_shares(matrix), cmap=_color_map(CELL), vmin=0, vmax=1, edgecolors=LINE, linewidth=0.5)
    axes.invert_yaxis()
    rows = [f"{label}  ({total})" for label, total in zip(names, totals, strict=True)]
    centers = np.arange(classes) + 0.5
    size = min(7.0 if small else 8.0, (200.0 if small else 400.0) / classes)
    axes.set_yticks(centers, rows, color=INK, fontsize=size)
    axes.set_xticks(centers, names, rotation=40, ha="left", rotation_mode="anchor", color=INK, fontsize=size)
    axes.xaxis.tick_top()
    axes.set_xlabel("predicted class", labelpad=6)
    axes.xaxis.set_label_position("bottom")
    axes.set_ylabel("true class (test pages)")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if classes <= MAX_CLASSES_WITH_TEXT:
        _write_cells(axes, matrix, small=small)


def _row_shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1), 1)[:, None])


def _write_cells(axes: "Axes", matrix: NDArray[np.int64], *, small: bool) -> None:
    """Write share and, unless small, count into every cell of a confusion matrix that is not empty."""
    shares = _row_shares(matrix)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        share = shares[row, column]
        color = "white" if share > 0.75 else INK
        weight = "bold" if row == column else "normal"
        axes.text(
            column + 0.5,
            row + (0.5 if small else 0.42),
            f"{100 * share:.0f}" if small else f"{share:.0%}",
            ha="center",
            va="center",
            color=color,
            fontsize=min(6.0, 110.0 / len(matrix)) if small else 8,
            fontweight=weight,
        )
        if small:
            continue
        axes.text(
            column + 0.5,
            row + 0.78,
            str(matrix[row, column]),
            ha="center",
            va="center",
            fontsize=6,
            color=color if share > 0.25 else MUTED,
        )


def per_class_chart(data: RunFigures, final: str, *, reference: str | None) -> "Figure | None":
    """Recall of the final model by class, with 95% interval, and that of the reference model as a marker."""
    from trainer.scoring.metrics import wilson_interval

    rows = _class_rows(data, final)
    recalls = {place: row["recall"] or 0.0 for place, row in enumerate(rows) if row["count"]}
    if not recalls:
        return None
    order = sorted(recalls, key=lambda place: -recalls[place])
    figure = new_figure(WIDTH, 0.9 + 0.3 * len(order))
    axes = figure.subplots()
    for position, place in enumerate(order):
        recall, count = recalls[place], rows[place]["count"]
        low, high = wilson_interval(round(recall * count), count)
        axes.barh(position, recall, height=0.62, color=BLUE, alpha=0.85, label=None if position else final)
        axes.plot([low, high], [position, position], color=INK, linewidth=1.1)
        axes.text(1.015, position, f"{recall:.0%}", va="center", fontsize=8)
    if reference is not None:
        others = _class_rows(data, reference)
        axes.plot(
            [others[place]["recall"] or 0.0 for place in order],
            range(len(order)),
            "D",
            color=ORANGE,
            markeredgecolor=INK,
            markeredgewidth=0.6,
            markersize=5.5,
            label=reference,
        )
    _label_rows(axes, [f"{data['classes'][place]['name']}  ({rows[place]['count']})" for place in order])
    axes.set_xlim(0, 1.07)
    percent_axis(axes, "x")
    axes.set_xlabel("recall on the test pages of each class; line: 95% interval")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def _class_rows(data: RunFigures, name: str) -> Sequence[ClassRow]:
    test = data["models"][name].get("test")
    return test.get("per_class", ()) if test else ()


def curves_chart(data: RunFigures) -> "Figure | None":
    """Learning curves: one row per job, with loss, accuracy and learning rate by epoch."""
    jobs = [(name, model) for name, model in data["models"].items() if model["epochs"] and "fold_of" not in model]
    if not jobs:
        return None
    height = 0.75 + 1.55 * len(jobs)
    figure = new_figure(WIDTH, height, layout=None)  # the layout engine takes seconds for this many axes
    figure.subplots_adjust(0.05, 0.42 / height, 0.99, 1 - 0.5 / height, wspace=0.2, hspace=0.38)
    grid = figure.subplots(len(jobs), 3, squeeze=False)
    for row, (name, model) in enumerate(jobs):
        epochs, best = model["epochs"], model["result"].get("best_epoch")
        _draw_curves(grid[row][0], epochs, quantity="loss", best=best)
        _draw_curves(grid[row][1], epochs, quantity="accuracy", best=best)
        _draw_learning_rate(grid[row][2], epochs)
        grid[row][1].set_ylim(0, 1.03)
        percent_axis(grid[row][1], "y")
        for axes, title in zip(grid[row], (f"{name}: loss", "accuracy", "learning rate"), strict=True):
            axes.set_title(title)
            _epoch_axis(axes, [epoch["epoch"] for epoch in epochs])
            if row == len(jobs) - 1:
                axes.set_xlabel("epoch")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=3)
    return figure


def _draw_curves(
    axes: "Axes", epochs: Sequence[EpochRow], *, quantity: Literal["loss", "accuracy"], best: int | None
) -> None:
    """Plot a quantity of training and validation; a ring marks the best epoch, whose weights are kept."""
    train, val = _points(epochs, f"train_{quantity}"), _points(epochs, f"val_{quantity}")
    for points, label, color, line in ((train, "training", ORANGE, "--"), (val, "validation", BLUE, "-")):
        axes.plot(*_xy(points), line, color=color, marker=".", markersize=5, label=label)
    if best is not None and best in val:
        axes.plot(
            best,
            val[best],
            "o",
            color="none",
            markeredgecolor=VERMILION,
            markersize=9,
            markeredgewidth=1.5,
            label="best epoch",
            clip_on=False,
        )


def _draw_learning_rate(axes: "Axes", epochs: Sequence[EpochRow]) -> None:
    from matplotlib.ticker import MaxNLocator

    points = _points(epochs, "learning_rate")
    axes.plot(*_xy(points), color=MUTED, marker=".", markersize=5, drawstyle="steps-mid")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 1.1 * max(points.values(), default=0.0) or 1.0)


def _points(epochs: Sequence[EpochRow], key: str) -> dict[int, float]:
    """The values of `key` by epoch, without the epochs that have none."""
    values = {epoch["epoch"]: cast(Mapping[str, float | None], epoch).get(key) for epoch in epochs}
    return {epoch: value for epoch, value in values.items() if value is not None}


def _xy(points: Mapping[int, float]) -> tuple[list[int], list[float]]:
    return list(points), list(points.values())


def _epoch_axis(axes: "Axes", epochs: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


def _label_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Label the rows of a chart, the first on top."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.spines["left"].set_visible(False)


def _color_map(color: str) -> Any:
    """A color map from transparent to `color`, for light and dark backgrounds."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    return LinearSegmentedColormap.from_list("share", [(*to_rgb(color), 0.0), (*to_rgb(color), 1.0)])
