"""The command that sends a run to a cluster from outside: submit."""

import argparse
from pathlib import Path

from launch.terminal.console import Commands, add_config_options, command


def submit_commands(commands: Commands) -> None:
    """Add `submit` to the parser."""
    parser = command(
        commands,
        "submit",
        _submit,
        about="run a configuration on a cluster of Ray's launcher, and follow it",
        examples="  regionstack submit cluster.yaml --config my.yaml --up\n"
        "  regionstack submit cluster.yaml --config my.yaml --pages /data/scans\n"
        "  regionstack submit cluster/aws.yaml --config my.yaml --pages s3://bucket/scans\n"
        "  regionstack submit cluster.yaml --config my.yaml --stop\n"
        "The run does not need this terminal. The same command follows a live run again, and resumes a stopped one.\n"
        "Ctrl-C ends the command alone. Its exit status is the run's. See docs/submit.md",
    )
    parser.add_argument("launcher", metavar="CLUSTER", help="the cluster's YAML file, as of ray up")
    add_config_options(parser)
    parser.add_argument("--pages", metavar="DIR|URL", help="send this folder's pages, or let the head copy a bucket's")
    parser.add_argument("--up", action="store_true", help="ray up the cluster first")
    parser.add_argument("--stop", action="store_true", help="let the live run save and end")
    parser.add_argument("--report", metavar="FILE", help="where to write the report (default: RUN.html)")
    parser.set_defaults(from_outside=True)


def _submit(options: argparse.Namespace) -> int:
    from cluster.remote.launcher import Launcher
    from data_tools.config import read_yaml
    from data_tools.errors import UserError
    from launch.config import load_config
    from launch.recipe.stages import plan_recipe
    from launch.startup import default_config
    from launch.submission.check import check_labels
    from launch.submission.parcel import plan_parcel
    from launch.submission.submit import stop, submit
    from launch.terminal.console import print_out
    from launch.terminal.outputs import output_files

    file = Path(options.launcher)
    if not isinstance(read_yaml(file).get("provider"), dict):
        raise UserError(f"{file}: provider is missing; name a file of Ray's launcher, as cluster.yaml")
    source, why = (options.config, "") if options.config else default_config(Path.cwd(), None)
    if why:
        print_out(f"configuration: {source} ({why})")
    config = load_config(source, options.set)
    plan_recipe(config)
    parcel = plan_parcel(config, pages=options.pages)
    launcher = Launcher(file)
    if options.stop:
        return stop(launcher, parcel)
    check_labels(config, pages=options.pages)
    name = options.report or f"{parcel.name}.html"
    with output_files(name) as (report,):
        return submit(launcher, parcel, up=options.up, report=report or Path(name))
