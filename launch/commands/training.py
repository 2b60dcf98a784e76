"""The commands that train: train-all, train, distill; and views, which spares a run from training again."""

import argparse

from launch.startup import say_once
from launch.terminal.console import (
    DISTILL_EXAMPLES,
    Commands,
    add_config_options,
    add_distill_options,
    add_stage_options,
    command,
    print_out,
)


def training_commands(commands: Commands) -> None:
    """Add the commands that train to the parser."""
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
    train_all.set_defaults(say=print_out)
    train = command(
        commands,
        "train",
        _train,
        about="train all that is left of the recipe, or one stage of one model, in this process, without Ray",
        examples="  regionstack train --config my.yaml\n"
        "  regionstack train --config my.yaml --stage holistic_128\n"
        "with several workers:\n"
        "  horovodrun -np 4 python launch/train.py --config my.yaml --stage regions --region top",
    )
    add_stage_options(train)
    train.set_defaults(say=say_once)
    distill = command(
        commands,
        "distill",
        _distill,
        about="train one whole-page model on the answers of a finished run's stack; resumes",
        examples=DISTILL_EXAMPLES,
    )
    add_distill_options(distill)
    distill.set_defaults(say=say_once)
    _add_views(commands)


def _add_views(commands: Commands) -> None:
    views = command(
        commands,
        "views",
        _views,
        about="copy a finished run, to predict with other views of each page (test-time augmentation)",
        examples="  regionstack views runs/my --shift 0.02 --scale 0.04 --to runs/my-views\n"
        "  regionstack train-all --config runs/my-views/config.yaml    predicts, fits the stack, trains nothing",
    )
    views.add_argument("run", metavar="RUN", help="run folder")
    views.add_argument("--to", metavar="DIR", required=True, help="run folder to create")
    for name, what in (("shift", "four views, shifted"), ("scale", "two views, scaled")):
        help_ = f"add {what} by this share, 0 to 0.25 (default: 0, none)"
        views.add_argument(f"--{name}", type=float, default=0.0, metavar="SHARE", help=help_)


def _views(options: argparse.Namespace) -> int:
    from pathlib import Path

    from launch.run.views import copy_with_views
    from launch.terminal.outputs import new_folder
    from trainer.config import ViewsConfig

    views = ViewsConfig(shift=options.shift, scale=options.scale)
    config = copy_with_views(Path(options.run), new_folder(options.to), views)
    print_out(f"{options.to}: {views.count} views of each page; next:\n  regionstack train-all --config {config}")
    return 0


def _train_all(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.train_all import train_all

    return train_all(load_config(options.config, options.set))


def _distill(options: argparse.Namespace) -> int:
    from launch.distill import distill, request_of

    return distill(request_of(options))


def _train(options: argparse.Namespace) -> int:
    from launch.config import load_config
    from launch.train import start

    return start(load_config(options.config, options.set), options.stage, options.region)
