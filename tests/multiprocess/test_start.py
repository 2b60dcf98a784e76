"""The source of the start weights is recorded by file and digest; a file that changed since is rejected."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_json
from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.prepare import ensure_weights
from launch.recipe.stages import plan_recipe
from trainer.config import CheckpointConfig
from trainer.job import run
from trainer.network.weights import load_arrays

FIRST, SECOND = "holistic_16", "holistic_32px"


def train(tiny: Path, folder: Path, stage: str, *settings: str) -> dict[str, Any]:
    """Train one epoch of a stage in this process; its result."""
    short = [f"stages.{stage}.epochs=1", f"stages.{stage}.head_epochs=0"]
    config = load_config(str(tiny), [f"run.folder={folder}", *short, *settings])
    recipe = plan_recipe(config, weights_file=ensure_weights(config))
    job = replace(recipe.of_stage(stage, None), checkpoint=CheckpointConfig(every_seconds=None))
    return run(payload(job, folder))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def start_weights(tmp_path: Path) -> Path:
    """A weight file of the backbone, as a user provides it."""
    import keras

    from trainer.network.backbones import build_backbone

    keras.utils.set_random_seed(3)
    path = tmp_path / "mine.weights.h5"
    build_backbone("SmallConvNet", (32, 32, 3)).save_weights(path)
    return path


def test_both_transfers_are_recorded_by_file_and_digest(tiny: Path, tmp_path: Path, start_weights: Path) -> None:
    folder = tmp_path / "run"
    frozen = "stages.holistic_16.freeze=[backbone/*]"
    first = train(tiny, folder, FIRST, f"model.weights={start_weights}", frozen)
    start = first["start"]
    copy = folder / "weights" / "start.weights.h5"
    assert (start["kind"], start["from"], start["digest"]) == ("weights", str(copy), sha256(copy))
    assert (start["source"], start["source_sha256"]) == (str(start_weights), sha256(start_weights))
    best = folder / "jobs" / FIRST / first["best_checkpoint"] / "weights.safetensors"
    import h5py

    with h5py.File(start_weights) as file:
        given = np.array(file["layers/conv2d/vars/0"])
    assert np.array_equal(load_arrays(best)["conv2d/kernel"], given), "the frozen backbone is that of the file"

    second = train(tiny, folder, SECOND, f"model.weights={start_weights}")
    start = second["start"]
    assert (start["kind"], start["from"], start["digest"]) == ("warm_start", FIRST, first["weights_digest"])
    assert (folder / start["file"], start["file_sha256"]) == (best, sha256(best))
    assert read_json(folder / "jobs" / SECOND / "result.json")["start"] == start


def test_a_source_that_changed_since_is_rejected(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = train(tiny, folder, FIRST)
    best = folder / "jobs" / FIRST / first["best_checkpoint"] / "weights.safetensors"
    content = bytearray(best.read_bytes())
    content[-1] ^= 1
    best.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.safetensors: changed since it was written"):
        train(tiny, folder, SECOND)
    best.unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
        train(tiny, folder, SECOND)
    assert not (folder / "jobs" / SECOND / "checkpoints").exists()
