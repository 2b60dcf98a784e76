"""The documentation keeps up: every setting and every command is explained."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from launch.cli import build_parser
from launch.config import load_config, resolved
from trainer.serving.answer import csv_columns, json_schema

ROOT = Path(__file__).parents[2]


def dotted(mapping: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for key, value in mapping.items():
        name = "NAME" if where == "stages." else key
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{where}{name}.")
        else:
            yield f"{where}{name}"


@pytest.mark.parametrize("preset", ["demo", "rvl_cdip", "das2018"])
def test_every_setting_is_documented_and_no_other(preset: str) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"^\| (`[^|]*`) \|", text, flags=re.MULTILINE))
    documented = {name for row in documented for name in re.findall(r"`([^`]+)`", row)}
    settings = set(dotted(resolved(load_config(preset))))
    settings = {name for name in settings if not name.startswith("regions.")}
    assert settings - documented == {"stages.NAME.plateau"} & settings
    assert documented - settings == set()


def test_every_command_has_help_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    commands = next(action for action in parser._actions if action.choices and not action.option_strings)
    names = list(commands.choices or ())
    assert {"draw", "survey", "convert", "verify", "train", "train-all", "evaluate", "predict", "status"} <= set(names)
    for name in names:
        with pytest.raises(SystemExit) as caught:
            parser.parse_args([name, "--help"])
        assert caught.value.code == 0
        assert f"regionstack {name} " in capsys.readouterr().out.partition("examples:")[2], name


def test_links_of_the_readme_lead_somewhere() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
            if not target.startswith("http"):
                assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_commands_and_columns_of_predict_are_those_of_its_page() -> None:
    text = (ROOT / "docs" / "predict.md").read_text()
    commands = [line.partition("  #")[0] for line in text.splitlines() if re.search(r"\bregionstack predict ", line)]
    assert len(commands) >= 5
    for command in commands:
        _, *arguments = shlex.split(command.rpartition("| ")[2])
        build_parser().parse_args(arguments)
    documented = set(re.findall(r"`([a-z_]+)`", text.partition("| CSV | JSON | |")[2].partition("## Exit")[0]))
    assert {*csv_columns([], []), *json_schema()["properties"]} <= documented
