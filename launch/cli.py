"""The command line: `regionstack COMMAND`. A command imports what it needs when it runs, not before."""

import argparse
import itertools
import sys
from collections.abc import Sequence

from data_tools.errors import UserError
from launch.commands.cluster import cluster_commands
from launch.commands.data import data_commands
from launch.commands.init import init_commands
from launch.commands.run import run_commands
from launch.commands.serve import serve_commands
from launch.commands.submit import submit_commands
from launch.commands.training import training_commands
from launch.startup import settle
from launch.terminal.console import Handler, HelpFormatter, guarded, print_err

ABOUT = """Train document-image classifiers on many GPUs: a model of the whole page, then one model per region of
the page, all regions at once, then a small classifier stacked on their outputs."""

FLOW = """usual order:
  regionstack init      /data/scans           write a configuration for your pages and labels, my.yaml
  regionstack survey    --config my.yaml      examine the pages first: sizes, balance, duplicates
  regionstack convert   --config my.yaml      convert the pages to sharded TFRecords, once
  regionstack plan      --config my.yaml      estimate the whole recipe, on this machine or on other GPUs
  regionstack doctor    --config my.yaml      check that this host (--cluster: every host) is ready
  regionstack train-all --config my.yaml      train everything and write the report; the same command resumes
  regionstack submit    cluster.yaml          the same on a cluster, from outside
  regionstack status    runs/my               show the state of the run, also from another terminal
  regionstack labels    runs/my               rank the labels by how likely they are wrong
  regionstack distill   runs/my               train one model that answers as all of them together
  regionstack predict   runs/my page.tif      classify a page with the trained models
  regionstack serve     runs/my               the same over HTTP, with a page to drop a scan on

my.yaml can be one line, `preset: rvl_cdip`. All settings: docs/configuration.md"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `regionstack`; the exit status: 0, or 2 for an error that the user can fix."""
    return guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    refuse_empty(sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(arguments)
    handler: Handler = options.handler
    if not getattr(options, "from_outside", False):
        settle(options, say=getattr(options, "say", print_err))
    return handler(options)


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument, which a path would take for the working folder, and an option for its default.

    Raises:
        UserError: one of them is empty.
    """
    for before, argument in itertools.pairwise(["regionstack", *arguments]):
        if argument == "":
            raise UserError(f"{before} '': the argument is empty; is a variable unset?")
        if argument.startswith("--") and argument.find("=") == len(argument) - 1:
            raise UserError(f"{argument}: has no value; is a variable unset?")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands, with their options, help and examples."""
    parser = argparse.ArgumentParser(prog="regionstack", description=ABOUT, epilog=FLOW, formatter_class=HelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    init_commands(commands)
    data_commands(commands)
    cluster_commands(commands)
    training_commands(commands)
    submit_commands(commands)
    run_commands(commands)
    serve_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
