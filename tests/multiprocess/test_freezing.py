"""Frozen layers and the head-first schedule in real training, on a world of one in this process."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_json, read_lines
from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from tests.helpers.faults import HOOK, PLAN, InjectedFault
from trainer.config import CheckpointConfig
from trainer.job import run
from trainer.network.weights import load_arrays

JOB = "holistic_16"
STEPS = 4
"""Steps of an epoch: 96 pages in batches of 24."""
EVERY_STEP = CheckpointConfig(every_steps=1, agree_steps=1, keep=99)


def train(tiny: Path, folder: Path, *settings: str) -> Path:
    """Train the first stage in this process with `stages.holistic_16.<setting>`; the job's folder."""
    config = load_config(str(tiny), [f"stages.{JOB}.{setting}" for setting in settings])
    job = replace(plan_recipe(config).of_stage(JOB, None), checkpoint=EVERY_STEP)
    run(payload(job, folder))
    return folder / "jobs" / JOB


def weights(job: Path, step: int) -> dict[str, np.ndarray]:
    return load_arrays(job / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def moments(job: Path, step: int) -> dict[str, np.ndarray]:
    return load_arrays(job / "checkpoints" / f"step-{step:08d}" / "optimizer.safetensors")


def moved(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> set[str]:
    """Names of the layers of which some variable changed; random seeds do not count."""
    names = {name for name in before if "seed" not in name and not np.array_equal(before[name], after[name])}
    return {name.rpartition("/")[0] for name in names}


HEAD = {"dense_1", "dense_2", "logits"}
BLOCKS = {f"{kind}{number}" for kind in ("conv2d", "batch_normalization") for number in ("", "_1", "_2", "_3", "_4")}


@pytest.fixture(scope="module")
def head_first(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted job of one head epoch and two epochs of all layers."""
    return train(tiny, tmp_path_factory.mktemp("head") / "run", "head_epochs=1", "head_learning_rate=0.01")


def test_frozen_layers_and_their_statistics_do_not_move(tiny: Path, tmp_path: Path) -> None:
    job = train(tiny, tmp_path / "run", "freeze=[..batch_normalization_1, dense_1]", "epochs=1")
    frozen = {"conv2d", "conv2d_1", "batch_normalization", "batch_normalization_1", "dense_1"}
    assert moved(weights(job, 1), weights(job, STEPS)) == (BLOCKS | HEAD) - frozen
    assert not [name for name in moments(job, STEPS) if "dense_1" in name], "frozen layers have no moments"
    assert [name for name in moments(job, STEPS) if "dense_2" in name]


def test_the_head_first_then_all_layers_with_a_new_optimizer(head_first: Path) -> None:
    assert moved(weights(head_first, 1), weights(head_first, STEPS)) == HEAD
    assert moved(weights(head_first, STEPS), weights(head_first, STEPS + 1)) == HEAD | BLOCKS
    counts = [int(moments(head_first, step)["adam/iteration"]) for step in (STEPS, STEPS + 1, STEPS + 2)]
    assert counts == [4, 1, 2]
    # Adam's first moment after one update is (1 - 0.9) x the gradient, its second (1 - 0.999) x its square.
    first = moments(head_first, STEPS + 1)
    for layer in ("conv2d_kernel", "logits_kernel"):
        momentum, velocity = first[f"adam/{layer}_momentum"], first[f"adam/{layer}_velocity"]
        assert np.abs(momentum).max() > 0
        np.testing.assert_allclose(velocity, momentum**2 / 0.1**2 * 0.001, rtol=1e-3, atol=1e-12)
    rates = [row["learning_rate"] for row in read_lines(head_first / "metrics.jsonl")]
    assert rates == pytest.approx([0.01, 0.002, 0.002])


def test_killed_around_the_switch_and_resumed_equals_never_killed(
    tiny: Path, head_first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the head's epoch; at the switch, whose checkpoint is the newest; after it."""
    steps = (2, STEPS + 1, STEPS + 3)
    plan = tmp_path / "faults.json"
    faults = [{"job": JOB, "step": step, "action": "raise", "attempt": n} for n, step in enumerate(steps, start=1)]
    plan.write_text(json.dumps(faults))
    for name, value in {**HOOK, PLAN: str(plan)}.items():
        monkeypatch.setenv(name, value)
    settings = ("head_epochs=1", "head_learning_rate=0.01")
    for _ in steps:
        with pytest.raises(InjectedFault):
            train(tiny, tmp_path / "run", *settings)
    job = train(tiny, tmp_path / "run", *settings)
    assert [fault["step"] for fault in read_lines(job / "faults.jsonl")] == list(steps)
    log = (job / "log.txt").read_text()
    assert [f"own checkpoint of step {step - 1}" in log for step in steps] == [True] * 3

    def outcome(folder: Path) -> list[Any]:
        rows = read_lines(folder / "metrics.jsonl")
        kept = [(row["epoch"], row["weights_digest"], row["train_loss"], row["learning_rate"]) for row in rows]
        files = [(folder / "predictions" / f"{split}.npz").read_bytes() for split in ("val", "test")]
        last = moments(folder, 3 * STEPS)
        digest = read_json(folder / "result.json")["weights_digest"]
        return [kept, digest, files, {name: array.tobytes() for name, array in last.items()}]

    assert outcome(job) == outcome(head_first)


def test_a_pattern_that_matches_nothing_is_rejected(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"freeze: conv2d_1 matches no layer .* backbone/conv2d_1"):
        train(tiny, tmp_path / "run", "freeze=[conv2d_1]")
    assert not (tmp_path / "run" / "jobs" / JOB / "checkpoints").exists()
