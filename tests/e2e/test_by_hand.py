"""A stage started by hand with horovodrun and the same stage as a job on Ray: each resumes what the other started."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from data_tools.files import read_json, read_lines
from tests.helpers.commands import horovodrun, regionstack

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
    by_hand(tiny, folder)
    return folder


def test_ray_finishes_what_was_started_by_hand(tiny: Path, unharmed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan_kill(folder, 5)
    by_hand(tiny, folder, status=None)
    assert_killed(folder)
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
