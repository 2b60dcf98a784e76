"""A finished run is opened as it was written, or an error names the damaged file in one line."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from data_tools.errors import UserError
from data_tools.files import write_json
from launch.config import load_config
from tests.helpers.untrained_run import CLASSES, MODEL, make_member
from trainer.serving.ensemble import RegionPages, open_ensemble, open_stack
from trainer.stack.fit import FittedStack, save_stack
from trainer.stack.mlp import Mlp

MEMBERS = ("holistic_px", "left")
PAGES: Mapping[str, RegionPages] = {
    "holistic": RegionPages((32, 32, 1), (0.0, 0.0, 1.0, 1.0)),
    "left": RegionPages((32, 32, 1), (0.0, 0.0, 0.5, 1.0)),
}
CHECKPOINT = "jobs/left/checkpoints/step-00000001"


def write_stack(run: Path) -> None:
    """A stack whose members count alike, and its result."""
    inputs, classes = len(MEMBERS) * len(CLASSES), len(CLASSES)
    mlp = Mlp(*(np.zeros(shape, np.float32) for shape in ((inputs, 4), (4,), (4, classes), (classes,))))
    stack = FittedStack(
        MEMBERS, np.array(CLASSES), "weighted", np.ones(len(MEMBERS)), np.zeros((inputs, classes)), np.zeros(classes),
        mlp,
    )  # fmt: skip
    folder = run / "jobs" / "stack"
    save_stack(folder, stack)
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    write_json(folder / "result.json", {"weights_digest": digest})


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    config = load_config("demo", [*MODEL, "shards.height=32", "shards.width=32"])
    for name, region in zip(MEMBERS, PAGES, strict=True):
        make_member(folder, name, region=region, config=config)
    write_stack(folder)
    return folder


@pytest.fixture
def run(intact: Path, tmp_path: Path) -> Path:
    return shutil.copytree(intact, tmp_path / "run")


def test_an_intact_run_answers(run: Path) -> None:
    pages = {name: np.zeros((2, *region.shape), np.uint8) for name, region in PAGES.items()}
    answers = open_ensemble(run, PAGES).predict(pages)
    assert {name: rows.shape for name, rows in answers.items()} == dict.fromkeys((*MEMBERS, "stack"), (2, len(CLASSES)))


@pytest.mark.parametrize("name", [f"{CHECKPOINT}/weights.safetensors", "jobs/stack/weights.safetensors"])
def test_one_flipped_bit_of_weights_is_an_error(run: Path, name: str) -> None:
    content = bytearray((run / name).read_bytes())
    content[-1] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(UserError, match=f"^{run / name}: changed since it was written"):
        open_ensemble(run, PAGES)


def test_an_average_of_damaged_models_is_an_error(run: Path) -> None:
    write_json(run / "jobs" / "holistic_px" / "result.json", {"models": ["left"]})
    path = run / CHECKPOINT / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    shutil.copy(run / "jobs" / "left" / "config.yaml", run / "jobs" / "holistic_px" / "config.yaml")
    with pytest.raises(UserError, match=f"^{path}: changed since it was written"):
        open_ensemble(run, PAGES)


@pytest.mark.parametrize(
    "name", [f"{CHECKPOINT}/manifest.json", "jobs/left/result.json", "jobs/stack/result.json", "jobs/stack/stack.json"]
)
@pytest.mark.parametrize("text", ["null", "[]", "{}", "5", '{"mem', ""])
def test_a_file_that_is_no_record_is_named(run: Path, name: str, text: str) -> None:
    (run / name).write_text(text)
    with pytest.raises(UserError, match=f"^{run / name}[:.].*copy of the run") as caught:
        open_ensemble(run, PAGES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("jobs/left/result.json", {"best_checkpoint": None}, r"\.best_checkpoint: expected text, found null"),
        ("jobs/left/result.json", {"models": 5}, r"\.models: expected a list, found 5"),
        ("jobs/stack/result.json", {"weights_digest": 5}, r"\.weights_digest: expected text, found 5"),
        ("jobs/stack/stack.json", {"members": []}, r"\.members: \[\] is empty"),
        ("jobs/stack/stack.json", {"members": ["left", "left"]}, r"\.members: .*names one twice"),
        ("jobs/stack/stack.json", {"members": 5}, r"\.members: expected a list"),
        ("jobs/stack/stack.json", {"class_ids": ["a", "b", "c"]}, r"\.class_ids\[0\]: expected an integer"),
        ("jobs/stack/stack.json", {"method": "magic"}, r"\.method: 'magic'"),
        ("jobs/stack/stack.json", {"surprise": 1}, r"\.surprise: unknown"),
    ],
)
def test_a_damaged_key_is_named(run: Path, name: str, change: dict[str, Any], problem: str) -> None:
    (run / name).write_text(json.dumps(json.loads((run / name).read_text()) | change))
    with pytest.raises(UserError, match=f"^{run / name}{problem}.*copy of the run"):
        open_ensemble(run, PAGES)


@pytest.mark.parametrize("change", [{"members": ["left"]}, {"members": ["left", "top", "holistic_px"]}])
def test_members_that_the_weights_do_not_fit_are_an_error(run: Path, change: dict[str, Any]) -> None:
    path = run / "jobs" / "stack" / "stack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"weights\.safetensors: weighted/members is \[2\].*stack\.json need"):
        open_stack(run)


def test_a_stack_without_an_array_is_an_error(run: Path) -> None:
    path = run / "jobs" / "stack" / "weights.safetensors"
    arrays = load_file(path)
    del arrays["mlp/output_bias"]
    save_file(arrays, path)
    with pytest.raises(UserError, match=f"^{path}: has no mlp/output_bias"):
        open_stack(run)
