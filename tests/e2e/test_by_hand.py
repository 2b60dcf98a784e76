"""A stage started by hand with horovodrun and the same stage as a job on Ray: each resumes what the other started."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_tools.files import read_json, read_lines
from launch.run.status import read_status
from tests.helpers.commands import environment, horovodrun, regionstack

STAGE = "holistic_16"
ALONE = ("stages.holistic_32px=null", "stages.regions=null")


def arguments(config: Path, folder: Path, *more: str) -> list[str]:
    settings = [f"run.folder={folder}", *ALONE, *more]
    return ["--config", str(config), *(part for setting in settings for part in ("--set", setting))]


def by_hand(config: Path, folder: Path, *, status: int | None = 0) -> str:
    return horovodrun(2, "launch/train.py", *arguments(config, folder), "--stage", STAGE, status=status)


def by_ray(config: Path, folder: Path, *more: str, status: int = 0) -> str:
    return regionstack("train-all", *arguments(config, folder, *more), status=status)


def plan_kill(folder: Path, step: int) -> None:
    folder.mkdir()
    plan = [{"job": STAGE, "step": step, "rank": 1, "action": "kill"}]
    (folder / "faults.json").write_text(json.dumps(plan))


def assert_killed(folder: Path) -> None:
    """The fault fired, and the stage is not done."""
    assert len(read_lines(folder / "jobs" / STAGE / "faults.jsonl")) == 1
    assert not (folder / "jobs" / STAGE / "result.json").exists()


def assert_resumed(folder: Path) -> None:
    """The second attempt of the stage started from a checkpoint of the first."""
    log = (folder / "jobs" / STAGE / "log.txt").read_text()
    (step,) = re.findall(r"start: own checkpoint of step (\d+)", log)
    assert 0 < int(step) <= 5


def outcome(folder: Path) -> dict[str, Any]:
    result = read_json(folder / "jobs" / STAGE / "result.json")
    assert result["world_size"] == 2
    kept = ("weights_digest", "best_epoch", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
    predictions = {split: (folder / "jobs" / STAGE / "predictions" / f"{split}.npz").read_bytes()
                   for split in ("val", "test")}  # fmt: skip
    return {key: result[key] for key in kept} | predictions


@pytest.fixture(scope="module")
def unharmed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_hand") / "run"
    output = by_hand(tiny, folder)
    (folder.parent / "output.txt").write_text(output)
    return folder


def test_a_stage_by_hand_shows_what_it_does_from_the_start(unharmed: Path) -> None:
    lines = [line.partition("<stdout>:")[2] for line in (unharmed.parent / "output.txt").read_text().splitlines()]
    wanted = ["importing TensorFlow and Horovod", f"{STAGE}: started on ", f"{STAGE}: starting: ", f"{STAGE}: done in "]
    assert [text for text in wanted if any(line.startswith(text) for line in lines)] == wanted
    status = read_status(unharmed)
    assert [job.state for job in status.jobs if job.name == STAGE] == ["done"]
    assert status.state != "running", "nobody trains the rest"


def test_ray_finishes_what_was_started_by_hand(tiny: Path, unharmed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan_kill(folder, 5)
    by_hand(tiny, folder, status=None)
    assert_killed(folder)
    status = read_status(folder)
    assert status.jobs[0].name == STAGE
    assert (status.state, status.jobs[0].state) in {("failed", "failed"), ("stopped", "stopped")}
    by_ray(tiny, folder)
    assert_resumed(folder)
    assert outcome(folder) == outcome(unharmed)


def test_horovodrun_finishes_what_ray_started(tiny: Path, unharmed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan_kill(folder, 5)
    by_ray(tiny, folder, "cluster.max_failures=0", status=2)
    assert_killed(folder)
    by_hand(tiny, folder)
    assert_resumed(folder)
    assert outcome(folder) == outcome(unharmed)


def test_ray_does_not_repeat_what_was_finished_by_hand(tiny: Path, unharmed: Path) -> None:
    before = (unharmed / "jobs" / STAGE / "result.json").read_bytes()
    output = by_ray(tiny, unharmed)
    assert f"{STAGE}: started" not in output
    assert (unharmed / "jobs" / STAGE / "result.json").read_bytes() == before
    assert (unharmed / "report.html").exists()


def test_the_recipe_in_one_world_equals_train_all(tiny: Path, tmp_path: Path) -> None:
    """`horovodrun -np 2 python launch/train.py`, without an argument, killed in a region and started again."""
    config = yaml.safe_load(tiny.read_text())
    config["regions"] = {"top": [0.0, 0.0, 1.0, 0.5], "bottom": [0.0, 0.5, 1.0, 1.0]}
    config["stages"]["holistic_32px"] = None
    config["stages"]["holistic_16"]["epochs"] = 1
    config["stages"]["regions"] |= {"start": STAGE, "image_px": 16}
    config["cluster"]["workers_per_region"] = 2
    hand, ray = ({**config, "run": {"folder": str(tmp_path / name)}} for name in ("hand", "ray"))
    hand["shards"] = {**config["shards"], "folder": str(tmp_path / "shards")}
    for name, settings in (("hand", hand), ("ray", ray)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "hand").mkdir()
    plan = [{"job": "bottom", "step": 5, "rank": 1, "action": "kill"}]
    (tmp_path / "hand" / "faults.json").write_text(json.dumps(plan))
    default = {"REGIONSTACK_CONFIG": str(tmp_path / "hand.yaml")}
    horovodrun(2, "launch/train.py", env=default, status=None)
    assert len(read_lines(tmp_path / "hand" / "jobs" / "bottom" / "faults.jsonl")) == 1, "killed in its second epoch"
    output = horovodrun(2, "launch/train.py", env=default)
    assert output.count(f"configuration: {tmp_path / 'hand.yaml'}") == 1
    assert "own checkpoint of step" in (tmp_path / "hand" / "jobs" / "bottom" / "log.txt").read_text()
    assert "report.html" in output
    regionstack("train-all", "--config", str(tmp_path / "ray.yaml"))
    assert digests(tmp_path / "hand") == digests(tmp_path / "ray")
    assert digests(tmp_path / "hand").keys() == {STAGE, "top", "bottom", "stack"}
    assert regionstack("status", str(tmp_path / "hand")).count("done") >= 4


def digests(run: Path) -> dict[str, Any]:
    """By job: weights, accuracy and world size."""
    results = {path.parent.name: read_json(path) for path in (run / "jobs").glob("*/result.json")}
    kept = ("weights_digest", "val_accuracy", "test_accuracy", "test_loss", "world_size")
    return {job: [result[key] for key in kept] for job, result in results.items()}


NVIDIA_SMI = """#!/bin/sh
case "$*" in *uuid*) echo GPU-1; echo GPU-2 ;; *compute_cap*) echo 8.9; echo 8.9 ;; esac
"""
"""A driver that lists two GPUs, which TensorFlow cannot use."""


@pytest.fixture
def driver(tmp_path: Path) -> dict[str, str]:
    """Environment of a host with that driver, whatever this one has."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(NVIDIA_SMI)
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{environment()['PATH']}"}


@pytest.mark.parametrize(("settings", "hidden"), [(["cluster.gpus=2"], {"CUDA_VISIBLE_DEVICES": "-1"}), ([], {})])
def test_a_rank_that_was_promised_a_gpu_by_hand_fails_with_tensorflows_reason(
    tiny: Path, tmp_path: Path, driver: dict[str, str], settings: list[str], hidden: dict[str, str]
) -> None:
    """By the configuration, or by the driver's list."""
    options = [*arguments(tiny, tmp_path / "run", *settings), "--stage", STAGE]
    assert_reason(horovodrun(1, "launch/train.py", *options, status=None, env=driver | hidden))


def test_slots_with_gpus_that_cannot_be_used_do_not_train_on_the_cpu(
    tiny: Path, tmp_path: Path, driver: dict[str, str]
) -> None:
    """On Ray: the doctor refuses a Horovod without NCCL; with NCCL, the rank that its slot promised a GPU fails."""
    options = arguments(tiny, tmp_path / "run", "cluster.gpus=2", "cluster.address=local")
    output = regionstack("train-all", *options, status=2, env=driver)
    assert re.search("built without NCCL|promised a GPU", output), output
    assert not (tmp_path / "run" / "jobs" / STAGE / "result.json").exists()


def assert_reason(output: str) -> None:
    """One line with the device variable and TensorFlow's own words, and no traceback of a rank."""
    line = next(line for line in output.splitlines() if "promised a GPU" in line)
    assert "CUDA_VISIBLE_DEVICES=" in line
    assert re.search("cuInit|cuda drivers", line), line
    assert "stderr>:Traceback" not in output, "of a rank"
