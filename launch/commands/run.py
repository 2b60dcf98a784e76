"""The commands on run folders: status, report, evaluate, compare, labels, predict, export."""

import argparse
from pathlib import Path

from data_tools.errors import UserError
from launch.commands.exporting import add_export
from launch.commands.labels import add_labels
from launch.commands.predict import add_predict
from launch.terminal.console import Commands, Handler, command, print_out, tables
from launch.terminal.outputs import is_file_name, output_files, output_folder


def run_commands(commands: Commands) -> None:
    """Add the commands on a run folder to the parser."""
    _add_status(commands)
    _add_report(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    add_labels(commands)
    add_predict(commands)
    add_export(commands)


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
    parser = _run_command(
        commands,
        "report",
        _report,
        about="rewrite report.html and metrics.json of a run",
        examples="  regionstack report runs/my\n  regionstack report /colleague/runs/my --out my-report\n"
        "  regionstack report runs/my --precision 0.98\n"
        "  regionstack report runs/my --png run.png",
    )
    parser.add_argument(
        "--out", metavar="DIR|FILE", help="folder to write, or the page alone as FILE.html or - (default: RUN)"
    )
    parser.add_argument(
        "--png", metavar="FILE", help="write one picture of the run instead, for a pull request (-: standard output)"
    )
    parser.add_argument(
        "--precision",
        type=float,
        metavar="SHARE",
        help="choose the thresholds of confidence for this share of right answers, 0 to 1, and, without --out,\n"
        "store them in the run for predict and serve (default: as stored)",
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
    parser.add_argument("--model", default="stack", metavar="NAME", help="stack (all models, the default) or distilled")


def _add_compare(commands: Commands) -> None:
    parser = command(
        commands,
        "compare",
        _compare,
        about="compare runs with the first of them: settings, accuracies with paired tests, confusions, times",
        examples="  regionstack compare runs/before runs/after\n"
        "  regionstack compare runs/a runs/b runs/c --html comparison.html",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, two or more")
    parser.add_argument("--html", metavar="FILE", help="write a page (-: standard output)")
    parser.add_argument("--json", metavar="FILE", help="write all figures (-: standard output)")


def _compare(options: argparse.Namespace) -> int:
    from launch.report.compare.show import show

    if len(options.runs) < 2:
        raise UserError(f"{options.runs[0]}: nothing to compare with; name two or more run folders")
    with output_files(options.html, options.json) as (html, json_file):
        return show([Path(run) for run in options.runs], html=html, json_file=json_file)


def _status(options: argparse.Namespace) -> int:
    from launch.run.status import read_status
    from launch.run.status_table import print_status

    print_status(read_status(Path(options.run)), tables())
    return 0


def _report(options: argparse.Namespace) -> int:
    from launch.report.report import write_page, write_report
    from launch.run.model import complete_record

    run, out = Path(options.run), options.out
    complete_record(run)
    if options.png is not None:
        return _picture(options)
    if out is None or not is_file_name(out):
        folder = None if out is None else output_folder(out)
        print_out(f"report: {write_report(run, folder, precision=options.precision)}")
        return 0
    with output_files(out) as (page,):
        if page is not None:
            write_page(run, page, precision=options.precision)
            print_out(f"report: {out}")
    return 0


def _picture(options: argparse.Namespace) -> int:
    from launch.report.sections.summary_picture import write_picture

    if options.out is not None:
        raise UserError(f"--out {options.out}: --png writes one picture alone; leave out one of the two")
    with output_files(options.png) as (path,):
        if path is not None:
            write_picture(Path(options.run), path, precision=options.precision)
            print_out(f"picture: {options.png}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from launch.commands.score import evaluate

    return evaluate(Path(options.run), split=options.split, shards=options.shards, model=options.model)
