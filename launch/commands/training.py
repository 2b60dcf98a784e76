"""The commands that train: train-all, train, distill."""

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
