"""One picture of a run for a pull request: accuracies, confidence, learning curves and confusions."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.files import write_atomically
from launch.report.charts import confusion_of, draw_accuracy, draw_confusion, tested_models
from launch.report.confidence.charts import draw_risk
from launch.report.figures import figures
from launch.report.plotting import INK, MUTED, new_figure, percent_axis, png_of_figure
from launch.report.schema import RunFigures
from launch.report.sections.transfer_curves import curves_of, draw_transfers
from launch.report.shard_pages import class_names
from launch.run.record import read_run
from trainer.config import STACK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (12.0, 9.0)
"""Inches, at 150 dots each."""


def write_picture(run: Path, path: Path, *, precision: float | None = None) -> None:
    """Write the picture of a run as a PNG to `path`, which may be a stream; the run folder is only read.

    The same run gives the same bytes: nothing of the time or place of writing is in it. precision: of the thresholds
    of confidence (None: as stored).

    Raises:
        UserError: `run` is not a run folder, or thresholds cannot be chosen.
        OSError: `path` cannot be written.
    """
    record = read_run(run)
    data = figures(record, class_names=class_names(record), now=time.time(), precision=precision)
    write_atomically(path, png_of_figure(lambda: summary_figure(data)))


def summary_figure(data: RunFigures) -> "Figure":
    """Four panels; one for which there is no data yet says so."""
    figure = new_figure(*SIZE)
    # Each column is laid out by itself: long class names of the matrix do not push the curves down.
    columns = [part.subplots(2, 1, height_ratios=(1.0, 1.5)) for part in figure.subfigures(1, 2, squeeze=False)[0]]
    panels = [columns[place % 2][place // 2] for place in range(4)]
    figure.suptitle(headline(data), x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    for axes, draw in zip(panels, (_accuracy, _risk, _curves, _confusion), strict=True):
        draw(axes, data)
    return figure


def headline(data: RunFigures) -> str:
    """The run, the accuracy of its final model, and the gain of the stack, in a line."""
    rows = tested_models(data)
    if not rows:
        return f"{data['run']}: no model has been scored on test pages yet"
    name, test = rows[-1]
    low, high = (100 * bound for bound in test["accuracy_interval"])
    text = f"{data['run']}: {name} {test['accuracy']:.1%} ({low:.1f} to {high:.1f}) on {test['count']:,} test pages"
    if data["comparison"] is None:
        return text
    gain = data["comparison"]
    return f"{text}, {100 * gain['difference']:+.1f} points over {gain['second']} (p = {gain['p_mid']:.2g})"


def _accuracy(axes: "Axes", data: RunFigures) -> None:
    rows = tested_models(data)
    _panel(axes, "test accuracy", bool(rows), lambda: draw_accuracy(axes, rows))


def _risk(axes: "Axes", data: RunFigures) -> None:
    confidence = data["confidence"]
    title = "errors among the most confident pages"
    _panel(axes, title, confidence is not None, lambda: draw_risk(axes, confidence) if confidence else None)


def _curves(axes: "Axes", data: RunFigures) -> None:
    curves = curves_of(data, "val_accuracy")

    def draw() -> None:
        draw_transfers(axes, curves)
        percent_axis(axes, "y")
        axes.legend(loc="lower right")

    _panel(axes, "validation accuracy, and the transfers of weights", bool(curves), draw)


def _confusion(axes: "Axes", data: RunFigures) -> None:
    rows = tested_models(data)
    name = rows[-1][0] if rows else STACK
    matrix = confusion_of(data, name) if rows else None
    names = [entry["name"] for entry in data["classes"]]

    def draw() -> None:
        if matrix is not None:
            draw_confusion(axes, matrix, names, small=True)

    _panel(axes, f"confusions of {name}, percent of each true class", matrix is not None and matrix.size > 0, draw)


def _panel(axes: "Axes", title: str, known: bool, draw: Callable[[], None]) -> None:
    if known:
        draw()
    else:
        axes.set_axis_off()
        axes.text(0, 0.5, "not yet known", color=MUTED, transform=axes.transAxes)
    axes.set_title(title)
