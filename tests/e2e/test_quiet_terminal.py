"""No command shows a start-up line of TensorFlow, absl or CUDA; `regionstack` of the helpers looks for them."""

from pathlib import Path

import pytest

from launch.cli import build_parser
from tests.helpers.commands import regionstack

ELSEWHERE = {
    "init", "draw", "convert", "verify", "fetch", "survey", "doctor", "plan", "train-all", "train", "submit", "serve",
    "compare", "distill",
}  # fmt: skip
"""Commands whose output other tests of this folder get from the same helpers."""

COMMANDS = {
    "status": [],
    "report": ["--out", "{out}/report.html"],
    "evaluate": [],
    "predict": ["{page}"],
    "export onnx": ["--format", "onnx", "--model", "holistic", "--to", "{out}/onnx"],
    "export litert": ["--format", "litert", "--model", "holistic", "--to", "{out}/litert"],
    "labels": [],
    "views": ["--shift", "0.02", "--to", "{out}/views"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_native_line_reaches_the_terminal(command: str, finished: Path, tiny: Path, tmp_path: Path) -> None:
    page = next((tiny.parent / "pages").rglob("*.tif"))
    options = [option.format(out=tmp_path, page=page) for option in COMMANDS[command]]
    assert regionstack(command.split()[0], str(finished), *options)


def test_every_command_is_looked_at() -> None:
    names = {name for action in build_parser()._actions if action.choices for name in action.choices}
    assert names == ELSEWHERE | {command.split()[0] for command in COMMANDS}
