"""The command line: its examples can be parsed, and it needs neither Ray nor Horovod for what runs on one host."""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import build_parser
from launch.config import preset_names

WITHOUT = """
import sys
for name in ("ray", "horovod"):
    sys.modules[name] = None  # importing it raises ImportError
from launch.cli import main
if __name__ == "__main__":
    status = main(sys.argv[1:])
    print({"tensorflow", "keras"} & set(sys.modules))
    sys.exit(status)
"""


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


def test_one_host_surveys_and_converts_without_ray_horovod_or_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WITHOUT)
    pages = tmp_path / "pages"
    labels = [f"data.{split}={pages}/labels/{split}.txt" for split in ("train", "val", "test")]
    places = [f"data.root={pages}", f"data.class_names={pages}/classes.txt", f"shards.folder={tmp_path / 'shards'}"]
    config = ["--config", "demo", *(part for setting in (*labels, *places) for part in ("--set", setting))]
    for arguments in (
        ["draw", "--out", str(pages), "--train", "2", "--val", "1", "--test", "1"],
        ["survey", *config, "--out", str(tmp_path / "survey")],
        ["convert", *config],
    ):
        command = [sys.executable, str(tmp_path / "program.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "set()", arguments[0]
