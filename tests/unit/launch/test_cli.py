"""The command line: its examples can be parsed."""

import argparse
import re
import shlex

import pytest

from launch.cli import build_parser, main
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


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("export runs/my --to ''", "--to ''"),
        ("export runs/my --to=", "--to="),
        ("export runs/my --shards ''", "--shards ''"),
        ("predict runs/my ''", "runs/my ''"),
        ("predict ''", "predict ''"),
        ("doctor --config ''", "--config ''"),
        ("submit cluster.yaml --report ''", "--report ''"),
        ("labels runs/my --data-root ''", "--data-root ''"),
        ("''", "regionstack ''"),
    ],
)
def test_an_empty_argument_is_an_unset_variable(line: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.removeprefix("error: ").startswith(named)
    assert "is a variable unset?" in said


def test_a_setting_may_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--config", "absent.yaml", "--set", "data.corrections="]) == 2
    assert "absent.yaml" in capsys.readouterr().err
