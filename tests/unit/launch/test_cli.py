"""The command line: its examples can be parsed."""

import argparse
import re
import shlex

import pytest

from launch.cli import build_parser
from launch.config import preset_names


def commands() -> dict[str, argparse.ArgumentParser]:
    action = next(action for action in build_parser()._actions if action.nargs == argparse.PARSER)
    assert isinstance(action.choices, dict)
    return action.choices


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_example_of_a_command_can_be_parsed(name: str) -> None:
    epilog = commands()[name].epilog or ""
    examples = re.findall(r"^  regionstack (.*?)(?:  .*)?$", epilog, flags=re.MULTILINE)
    assert examples
    for example in examples:
        assert build_parser().parse_args(shlex.split(example)).handler, example


def test_the_help_names_every_preset() -> None:
    assert all(name in commands()["train-all"].format_help() for name in preset_names())
