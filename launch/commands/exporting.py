"""The command `export`: a run's models as a SavedModel, an ONNX or a LiteRT file."""

import argparse
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from data_tools.errors import UserError
from launch.terminal.console import Commands, command, print_err, print_out, tables
from launch.terminal.outputs import new_folder

if TYPE_CHECKING:
    from trainer.export.export import Exported, ExportRequest

FORMATS = ("saved_model", "onnx", "litert")


def add_export(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "export",
        _export,
        about="write the models and the stack of a run as files that work without this project",
        examples="  regionstack export runs/my\n  regionstack export runs/my --to model --shards moved/shards\n"
        "  regionstack export runs/my --format onnx --model holistic",
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--format", default="saved_model", choices=FORMATS, help="format (default: saved_model)")
    parser.add_argument(
        "--model", default="stack", metavar="NAME",
        help="stack (all models in one, the default), a job, or the region of a job, such as holistic",
    )  # fmt: skip
    parser.add_argument(
        "--to", metavar="DIR", help="folder to write (default: RUN/export, with the model and the format in its name)"
    )
    parser.add_argument("--shards", metavar="DIR", help="the shards of the run, if they were moved")


def _export(options: argparse.Namespace) -> int:
    from launch.report.card.model_card import model_card
    from launch.report.figures import figures
    from launch.report.shard_pages import class_names
    from launch.run.record import read_run
    from trainer.export.export import default_folder, export

    run = Path(options.run)
    request, shards = plan_export(run, options)

    def card(exported: "Exported") -> str:
        record = read_run(run)
        return model_card(record, figures(record, class_names=class_names(record), now=time.time()), exported)

    target = new_folder(options.to or str(default_folder(run, request)))
    print_err(f"converting {request.model} of {run} to {request.form}; large models take minutes")
    with contextlib.ExitStack() as shown:
        request = replace(request, on_pages=_progress(shown))
        exported = export(run, target, shards=shards, request=request, card=card)
    print_exported(exported, target)
    return 0


def _progress(shown: contextlib.ExitStack) -> Callable[[int, int], None]:
    """A progress display that starts with the first pages, since conversion comes before them."""
    from launch.terminal.page_progress import PageProgress, page_progress

    started: list[PageProgress] = []

    def on_pages(done: int, total: int) -> None:
        if not started:
            started.append(shown.enter_context(page_progress("checking")))
        started[0](done, total, 0)

    return on_pages


def plan_export(run: Path, options: argparse.Namespace) -> tuple["ExportRequest", Path | None]:
    """What to export, and the folder of the run's shards; without shards, the run's record says what its models take.

    Raises:
        UserError: `run` is not a run folder, or it has no record of its classes.
    """
    from launch.api import open_run
    from launch.run.model import find_shards
    from trainer.export.export import ExportRequest
    from trainer.export.source import RunPages
    from trainer.serving.ensemble import RegionPages

    if options.shards:
        return ExportRequest(form=options.format, model=options.model), Path(options.shards)
    record = open_run(run).record
    try:
        shards = find_shards(run, record, "test")
    except UserError as error:
        print_out(f"note: compared with the Keras models on synthetic pages, because {error}")
        pages = RunPages(
            class_ids=tuple(record.class_ids),
            class_names=tuple(entry.name for entry in record.classes),
            regions={name: RegionPages(record.shape, edges) for name, edges in record.regions.items()},
            shards=None,
        )
        return ExportRequest(form=options.format, model=options.model, pages=pages), None
    return ExportRequest(form=options.format, model=options.model), shards


def print_exported(exported: "Exported", folder: Path) -> None:
    """Print what was compared and measured."""
    checked = exported["checked"]
    table = Table(title=f"{folder}: {exported['file']}, {exported['size_bytes'] / 2**20:.1f} MiB")
    for heading in ("output", "same class", "largest difference"):
        table.add_column(heading, justify="left" if heading == "output" else "right")
    for name, difference in checked["largest_difference"].items():
        table.add_row(name, f"{checked['top1_equal'][name]} of {checked['pages']}", f"{difference:.2g}")
    tables().print(table)
    for threads, rate in exported["pages_per_s"].items():
        print_out(f"{rate:.1f} pages/s on {threads} thread{'s' if threads != '1' else ''}")
    if not exported["temperatures"]:
        print_out("note: the probabilities are not calibrated; an earlier version fitted this model")
    print_out(f"{folder}: agrees with {checked['against']} within {checked['tolerance']:g}; see MODEL_CARD.md")
