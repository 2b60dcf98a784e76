"""The report of a run, made from its folder alone: `metrics.json`, `pictures/`, `report.html`, and a table."""

import base64
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_tools.files import write_atomically, write_json
from launch.report import charts
from launch.report.confidence.charts import confidence_chart
from launch.report.confidence.policy import calibrated, run_policy
from launch.report.confidence.schema import ConfidenceFigures
from launch.report.figures import all_predictions, figures, final_job
from launch.report.html import page
from launch.report.plotting import save
from launch.report.samples import pick_samples
from launch.report.schema import Comparison, ModelFigures, RunFigures
from launch.report.sections.contribution_chart import contribution_chart
from launch.report.sections.mistakes import confident_mistakes
from launch.report.sections.transfer_curves import transfer_chart
from launch.report.shard_pages import class_names, page_pictures
from launch.report.timeline import timeline_chart
from launch.run.record import read_run
from launch.run.status import status_of
from launch.terminal.console import tables
from launch.terminal.wording import duration
from trainer.config import STACK
from trainer.scoring.decision import write_policy
from trainer.scoring.schema import ContributionFigures, StackResult, StudentFigures
from trainer.soft_targets.config import DISTILLED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFUSIONS_SHOWN = 8


def write_report(
    run: Path, folder: Path | None = None, *, now: float | None = None, precision: float | None = None
) -> Path:
    """Write the report of a run in its current state; returns the path of `report.html`.

    folder: where to write it (None: the run folder, which is only read otherwise). precision: choose the thresholds of
    confidence anew for this share of right answers, and, in the run folder, store them for `predict` (None: as stored).

    Raises:
        UserError: `run` is not a run folder, or thresholds cannot be chosen.
        OSError: the folder cannot be written to.
    """
    folder = folder or run
    path = folder / "report.html"
    _write(run, path, folder=folder, now=now, precision=precision)
    return path


def write_page(run: Path, path: Path, *, precision: float | None = None) -> None:
    """Write `report.html` alone to `path`, which may be a stream; the run folder is only read.

    precision: as in `write_report`; nothing is stored.

    Raises:
        UserError: `run` is not a run folder, or thresholds cannot be chosen.
        OSError: `path` cannot be written.
    """
    _write(run, path, folder=None, now=None, precision=precision)


def _write(run: Path, path: Path, *, folder: Path | None, now: float | None, precision: float | None) -> None:
    """Write the page to `path`, and its data and pictures to `folder`; None for none of them."""
    now = time.time() if now is None else now
    record = read_run(run)
    policy, _ = run_policy(run, precision=precision)
    data = figures(record, class_names=class_names(record), now=now, precision=precision)
    if folder is not None:
        write_json(folder / "metrics.json", data)
    if policy is not None and precision is not None and folder == run:
        write_policy(run, policy)
    tables = calibrated(
        policy, {name: rows for (name, split), rows in all_predictions(record)[0].items() if split == "test"}
    )
    final = final_job(tables, record)
    reference = final_job((name for name in tables if name != STACK), record) if final == STACK else None
    samples = pick_samples(tables, final=final, reference=reference) if final else []
    mistakes = confident_mistakes(tables[final]) if final else []
    shown = dict.fromkeys([*(mistake.id for mistake in mistakes), *(sample.id for sample in samples)])
    pages = page_pictures(record, list(shown), keep=folder == run)
    pictures = None if folder is None else folder / "pictures"
    html = page(
        "report.html.j2",
        data=data,
        state=status_of(record, now=now).state,
        final=final,
        reference=reference,
        pictures=draw_pictures(data, pictures, final=final, reference=reference),
        confused=most_confused(data, final) if final else [],
        samples=samples,
        mistakes=mistakes,
        pages={page_id: base64.b64encode(png).decode() for page_id, png in pages.items()},
        config_text=record.config_text,
    )
    write_atomically(path, html)


def draw_pictures(data: RunFigures, folder: Path | None, *, final: str | None, reference: str | None) -> dict[str, str]:
    """Every chart for which there is data as inline SVG, by name; also written to `folder` as PNG, unless None."""

    def drawn(draw: Callable[[], "Figure | None"], name: str) -> str | None:
        return save(draw, Path(f"{name}.png") if folder is None else folder / f"{name}.png", keep=folder is not None)

    charted = {
        "accuracy": drawn(lambda: charts.accuracy_chart(data), "accuracy"),
        "curves": drawn(lambda: charts.curves_chart(data), "curves"),
        "transfers": drawn(lambda: transfer_chart(data), "transfers"),
        "contributions": drawn(lambda: contribution_chart(contributions_of(data)), "contributions"),
        "confidence": drawn(lambda: confidence_chart(data["confidence"]), "confidence"),
        "timeline": drawn(lambda: timeline_chart(data["timeline"], list(data["models"])), "timeline"),
    }
    if final is not None:
        charted["classes"] = drawn(lambda: charts.per_class_chart(data, final, reference=reference), "classes")
    for name in dict.fromkeys(name for name in (final, reference) if name is not None):
        draw = functools.partial(charts.confusion_chart, data, name)
        charted[f"confusion-{name}"] = drawn(draw, f"confusion-{name}")
    return {name: svg for name, svg in charted.items() if svg is not None}


def contributions_of(data: RunFigures) -> Mapping[str, ContributionFigures]:
    """By member, what the stack gains by it; empty until the stack is done, and for a run of an earlier version."""
    stack = data["models"].get(STACK)
    return cast(StackResult, stack["result"]).get("contributions", {}) if stack else {}


@dataclass(frozen=True)
class ConfusedPair:
    """Pages of one class that a model assigns to another, and their share of the true class. Classes by index."""

    true: int
    predicted: int
    count: int
    share: float


def most_confused(data: RunFigures, name: str) -> list[ConfusedPair]:
    """The pairs of classes with the most wrong test pages of a model."""
    test = data["models"][name].get("test")
    pairs = [
        ConfusedPair(true, predicted, count, count / sum(row))
        for true, row in enumerate(test.get("confusion", ()) if test else ())
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:CONFUSIONS_SHOWN]


def print_summary(run: Path, console: Console | None = None) -> None:
    """Print a table of every model's accuracy, the gain of the stack, and the caveats, from the run folder alone."""
    console = console or tables()
    data = figures(read_run(run), class_names={}, now=time.time())
    table = Table(title=f"[bold]{escape(str(run))}[/]", title_justify="left", header_style="bold")
    table.add_column("model")
    for heading in ("validation", "test", "95% interval", "balanced", "test pages", "epochs", "time"):
        table.add_column(heading, justify="right")
    for name, model in data["models"].items():
        if "fold_of" in model:
            continue
        if name == STACK:
            table.add_section()
        table.add_row(*_summary_row(name, model), style="bold" if name == STACK else None)
    console.print(table)
    if data["comparison"]:
        console.print(comparison_text(data["comparison"]), highlight=False)
    if data["distilled"]:
        for line in student_lines(data["distilled"]):
            console.print(line, highlight=False)
    if data["confidence"]:
        console.print(decisions_text(data["confidence"]), highlight=False)
    for line in data["warnings"]:
        console.print(f"[yellow]note:[/] {escape(line)}", highlight=False)


def comparison_text(comparison: Comparison) -> str:
    """The gain of the stack over the holistic model in one line."""
    low, high = (100 * bound for bound in comparison["difference_interval"])
    return (
        f"{comparison['first']} − {comparison['second']} on {comparison['pages']} test pages: "
        f"{100 * comparison['difference']:+.1f} points (95% interval {low:+.1f} to {high:+.1f}, "
        f"McNemar mid-p {comparison['p_mid']:.2g})"
    )


def student_lines(student: StudentFigures) -> list[str]:
    """The student beside the whole-page model and the stack, one line each, and its share of the stack's gain."""
    lines = []
    for paired in student["paired"]:
        low, high = (100 * bound for bound in paired["difference_interval"])
        lines.append(
            f"{DISTILLED} − {paired['against']} on {paired['pages']} test pages: {100 * paired['difference']:+.1f} "
            f"points (95% interval {low:+.1f} to {high:+.1f}, McNemar mid-p {paired['p_mid']:.2g})"
        )
    kept = student["kept"]
    share = "the stack gains nothing to keep" if kept is None else f"it keeps {kept:.0%} of the stack's gain"
    return [*lines, f"{DISTILLED}: {share} over {student['holistic']}"]


def decisions_text(confidence: ConfidenceFigures) -> str:
    """What the run's policy decides about its test pages, in one line."""
    parts = [
        f"{row['pages']} {name}" + ("" if row["accuracy"] is None else f" ({row['accuracy']:.1%} right)")
        for name, row in confidence["decisions"].items()
    ]
    return f"decisions on the test pages: {', '.join(parts)}"


def _summary_row(name: str, model: ModelFigures) -> list[str]:
    val, test, result = model.get("val") or {"count": 0}, model.get("test") or {"count": 0}, model["result"]
    if "accuracy" not in test and "accuracy" not in val:
        return [escape(name), model["state"], "–", "–", "–", "–", "–", "–"]
    return [
        escape(name),
        f"{val['accuracy']:.1%}" if "accuracy" in val else "–",
        f"{test['accuracy']:.1%}" if "accuracy" in test else "–",
        " – ".join(f"{bound:.1%}" for bound in test["accuracy_interval"]) if "accuracy_interval" in test else "–",
        f"{test['balanced_accuracy']:.1%}" if "balanced_accuracy" in test else "–",
        str(test["count"]) if "accuracy" in test else "–",
        str(result.get("epochs", "–")),
        duration(result["seconds"]) if "seconds" in result else "–",
    ]
