"""`model.weights: drawn`: trained on drawn pages once, cached, and what the next run starts from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.files import read_json
from tests.helpers.commands import environment, horovodrun, regionstack
from tests.helpers.waiting import wait_until

TRAINED = "on drawn pages"


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> list[str]:
    """Arguments of a run that starts from weights of 32 drawn pages."""
    values = {
        "model.weights": "drawn",
        "drawn.start": "none",
        "drawn.pages_per_class": 2,
        "drawn.image_px": 16,
        "drawn.epochs": 1,
        "run.folder": tmp_path / "run",
    }
    return ["--config", str(tiny), *(part for key, value in values.items() for part in ("--set", f"{key}={value}"))]


def test_the_first_rank_trains_them_once_and_later_runs_start_from_them(settings: list[str], tmp_path: Path) -> None:
    cache = {"REGIONSTACK_CACHE": str(tmp_path / "cache")}
    stage = ["--stage", "holistic_16"]
    output = horovodrun(2, "launch/train.py", *settings, *stage, env=cache)
    assert output.count(TRAINED) == 1
    (weights,) = (tmp_path / "cache" / "weights").iterdir()
    start = read_json(tmp_path / "run" / "weights" / "start.json")
    assert start["source"] == str(weights)
    result = read_json(tmp_path / "run" / "jobs" / "holistic_16" / "result.json")
    assert result["start"]["source_sha256"] == start["sha256"]
    again = regionstack("train", *settings, "--set", f"run.folder={tmp_path / 'second'}", *stage, env=cache)
    assert TRAINED not in again
    assert read_json(tmp_path / "second" / "weights" / "start.json") == start


def test_a_killed_command_leaves_no_training_behind_that_the_next_one_would_meet(
    settings: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "output.txt"
    command = [sys.executable, "-m", "launch.cli", "train", *settings, "--set", "drawn.epochs=1000"]
    with output.open("w") as file:
        killed = subprocess.Popen(
            command, env={**environment(), "REGIONSTACK_CACHE": str(tmp_path / "cache")}, stdout=file, stderr=file
        )
    wait_until(lambda: "holistic: started" in output.read_text(), "the training on drawn pages")
    children = [int(pid) for pid in Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()]
    trains = [pid for pid in children if b"launch.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(trains) == 1
    killed.kill()
    killed.wait()
    try:
        wait_until(lambda: not is_running(trains[0]), "the end of the training", limit_s=30)
    finally:
        if is_running(trains[0]):
            os.kill(trains[0], signal.SIGKILL)
