"""`regionstack compare`: prints runs as tables, and writes them as a page or as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from data_tools.files import write_atomically
from launch.report.compare.comparison import ComparedRun, ModelFigures, compare, models_of
from launch.report.html import page
from launch.terminal.console import print_out, tables
from launch.terminal.wording import duration


def show(folders: Sequence[Path], *, html: Path | None, json_file: Path | None) -> int:
    """Print the comparison and write the files; returns 0.

    Raises:
        UserError: see `compare`.
    """
    runs = compare(folders)
    labels = short_names([run.run for run in runs])
    _print(runs, labels)
    if json_file is not None:
        write_atomically(json_file, json.dumps([run.as_data() for run in runs], indent=2) + "\n")
        print_out(f"comparison: {json_file}")
    if html is not None:
        write_atomically(html, page("compare.html.j2", runs=runs, labels=labels, models=models_of(runs), cell=cell))
        print_out(f"comparison: {html}")
    return 0


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, or the complete path where two runs share it."""
    last = [Path(path).resolve().name for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


def cell(figures: ModelFigures | None) -> str:
    """Accuracy and, after the first run, the difference in points with the p-value of the paired test."""
    if figures is None:
        return "–"
    text = f"{figures.accuracy:.1%}"
    if figures.against is None:
        return text
    return f"{text} ({100 * figures.against.difference:+.1f}, p = {figures.against.p_mid:.2g})"


def _print(runs: Sequence[ComparedRun], labels: Sequence[str]) -> None:
    console = tables()
    table = Table(title="test accuracy; difference to the first run in points, on the pages of both (McNemar, mid-p)")
    table.add_column("model")
    for label in labels:
        table.add_column(escape(label), justify="right", overflow="fold")
    for model in models_of(runs):
        table.add_row(escape(model), *(cell(run.models.get(model)) for run in runs))
    table.add_row("training, all jobs", *(duration(run.seconds) if run.seconds else "–" for run in runs), style="dim")
    console.print(table)
    for run, label in zip(runs[1:], labels[1:], strict=True):
        _print_run(run, label)


def _print_run(run: ComparedRun, label: str) -> None:
    print_out(f"{label}: {'; '.join(run.settings) if run.settings else 'the same settings'}")
    if run.relabeled:
        print_out(f"{label}: {run.relabeled} test pages have another label than in the first run; not compared")
    for one in run.confusions:
        print_out(f"{label}: {one.true} taken for {one.predicted}: {one.first} -> {one.this}")
