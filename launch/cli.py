"""The command line: `regionstack COMMAND`. A command imports what it needs when it runs, not before."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.commands.cluster import cluster_commands
from launch.commands.data import data_commands
from launch.console import Commands, Handler, HelpFormatter, add_config_options, command, guarded, print_out, tables

ABOUT = """Train document-image classifiers on many GPUs: a model of the whole page, then one model per region of
the page, all regions at once, then a small classifier stacked on their outputs."""

FLOW = """usual order:
  regionstack survey    --config my.yaml      examine the pages first: sizes, balance, duplicates
  regionstack convert   --config my.yaml      convert the pages to sharded TFRecords, once
  regionstack plan      --config my.yaml      estimate the whole recipe, on this machine or on other GPUs
  regionstack doctor    --config my.yaml      check that this host (--cluster: every host) is ready
  regionstack train-all --config my.yaml      train everything and write the report; the same command resumes
  regionstack status    runs/my               show the state of the run, also from another terminal
  regionstack predict   runs/my page.tif      classify a page with the trained models

my.yaml can be one line, `preset: rvl_cdip`. All settings: docs/configuration.md"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `regionstack`; the exit status: 0, or 2 for an error that the user can fix."""
    options = build_parser().parse_args(arguments)
    handler: Handler = options.handler
    return guarded(lambda: handler(options))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands, with their options, help and examples."""
    parser = argparse.ArgumentParser(prog="regionstack", description=ABOUT, epilog=FLOW, formatter_class=HelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    data_commands(commands)
    cluster_commands(commands)
    _training_commands(commands)
    _run_commands(commands)
    return parser


def _training_commands(commands: Commands) -> None:
    train_all = command(
        commands,
        "train-all",
        _train_all,
        about="train the whole recipe and write its report; resumes a run that was stopped",
        examples="  regionstack train-all --config demo\n"
        "  regionstack train-all --config my.yaml --set cluster.workers_per_region=2\n"
        "on a cluster:\n  ray submit cluster.yaml launch/train_all.py -- --config my.yaml",
    )
    add_config_options(train_all)
    train = command(
        commands,
        "train",
        _train,
        about="train one stage of one model in this process, without Ray",
        examples="  regionstack train --config my.yaml --stage holistic_128\n"
        "with several workers:\n"
        "  horovodrun -np 4 python launch/train.py --config my.yaml --stage regions --region top",
    )
    add_config_options(train)
    train.add_argument("--stage", required=True, help="name of a stage in the configuration")
    train.add_argument("--region", help="region, if the stage trains one model for each")


def _run_commands(commands: Commands) -> None:
    status = command(
        commands,
        "status",
        _status,
        about="show the state of a run and its jobs, from its folder alone",
        examples="  regionstack status runs/my",
    )
    report = command(
        commands,
        "report",
        _report,
        about="rewrite report.html and metrics.json of a run",
        examples="  regionstack report runs/my",
    )
    evaluate = command(
        commands,
        "evaluate",
        _evaluate,
        about="score the trained models of a run on a split",
        examples="  regionstack evaluate runs/my\n  regionstack evaluate runs/my --split val --shards shards/other",
    )
    predict = command(
        commands,
        "predict",
        _predict,
        about="classify pages with the trained models of a run",
        examples="  regionstack predict runs/my page.tif other.png\n"
        "  regionstack predict runs/my scans/*.tif --html page.html --json page.json",
    )
    export = command(
        commands,
        "export",
        _export,
        about="write the models and the stack of a run as one SavedModel that loads without this project",
        examples="  regionstack export runs/my\n  regionstack export runs/my --to model --shards moved/shards",
    )
    for parser in (status, report, evaluate, predict, export):
        parser.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("--split", default="test", choices=("train", "val", "test"), help="split (default: test)")
    evaluate.add_argument("--shards", metavar="DIR", help="other shards of the same geometry (default: the run's)")
    predict.add_argument("pages", nargs="+", metavar="PAGE", help="image files")
    predict.add_argument("--html", metavar="FILE", help="write an HTML page with the pages and their classes")
    predict.add_argument("--json", metavar="FILE", help="write the probabilities of all models")
    export.add_argument("--to", metavar="DIR", help="folder to write (default: RUN/export)")
    export.add_argument("--shards", metavar="DIR", help="the shards of the run, if they were moved")


def _train_all(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.train_all import train_all

    return train_all(load_config(options.config, options.set))


def _train(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.train import train

    return train(load_config(options.config, options.set), options.stage, options.region)


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


if __name__ == "__main__":
    sys.exit(main())
