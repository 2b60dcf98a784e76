"""The commands on a run folder: status, report, evaluate, predict, export."""

import argparse
from pathlib import Path

from launch.console import Commands, Handler, command, print_out, tables


def run_commands(commands: Commands) -> None:
    """Add the commands on a run folder to the parser."""
    _add_status(commands)
    _add_report(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_export(commands)


def _run_command(
    commands: Commands, name: str, handler: Handler, *, about: str, examples: str
) -> argparse.ArgumentParser:
    parser = command(commands, name, handler, about=about, examples=examples)
    parser.add_argument("run", metavar="RUN", help="run folder")
    return parser


def _add_status(commands: Commands) -> None:
    _run_command(
        commands,
        "status",
        _status,
        about="show the state of a run and its jobs, from its folder alone",
        examples="  regionstack status runs/my",
    )


def _add_report(commands: Commands) -> None:
    _run_command(
        commands,
        "report",
        _report,
        about="rewrite report.html and metrics.json of a run",
        examples="  regionstack report runs/my",
    )


def _add_evaluate(commands: Commands) -> None:
    parser = _run_command(
        commands,
        "evaluate",
        _evaluate,
        about="score the trained models of a run on a split",
        examples="  regionstack evaluate runs/my\n  regionstack evaluate runs/my --split val --shards shards/other",
    )
    parser.add_argument("--split", default="test", choices=("train", "val", "test"), help="split (default: test)")
    parser.add_argument("--shards", metavar="DIR", help="other shards of the same geometry (default: the run's)")


def _add_predict(commands: Commands) -> None:
    parser = _run_command(
        commands,
        "predict",
        _predict,
        about="classify pages with the trained models of a run",
        examples="  regionstack predict runs/my page.tif other.png\n"
        "  regionstack predict runs/my scans/*.tif --html page.html --json page.json",
    )
    parser.add_argument("pages", nargs="+", metavar="PAGE", help="image files")
    parser.add_argument("--html", metavar="FILE", help="write an HTML page with the pages and their classes")
    parser.add_argument("--json", metavar="FILE", help="write the probabilities of all models")


def _add_export(commands: Commands) -> None:
    parser = _run_command(
        commands,
        "export",
        _export,
        about="write the models and the stack of a run as one SavedModel that loads without this project",
        examples="  regionstack export runs/my\n  regionstack export runs/my --to model --shards moved/shards",
    )
    parser.add_argument("--to", metavar="DIR", help="folder to write (default: RUN/export)")
    parser.add_argument("--shards", metavar="DIR", help="the shards of the run, if they were moved")


def _status(options: argparse.Namespace) -> int:
    from launch.run.status import read_status
    from launch.run.status_table import print_status

    print_status(read_status(Path(options.run)), tables())
    return 0


def _report(options: argparse.Namespace) -> int:
    from launch.report.report import write_report

    print_out(f"report: {write_report(Path(options.run))}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from launch.commands.score import evaluate

    return evaluate(Path(options.run), split=options.split, shards=options.shards)


def _predict(options: argparse.Namespace) -> int:
    from launch.commands.score import predict

    html, json_file = (Path(path) if path else None for path in (options.html, options.json))
    return predict(Path(options.run), [Path(page) for page in options.pages], html=html, json_file=json_file)


def _export(options: argparse.Namespace) -> int:
    from trainer.serving.export import export

    to, shards = (Path(path) if path else None for path in (options.to, options.shards))
    folder = export(Path(options.run), to, shards=shards)
    print_out(f"{folder}: reproduces the test predictions of the run; export.json describes how to load it")
    return 0
