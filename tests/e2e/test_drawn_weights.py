"""`model.weights: drawn`: trained on drawn pages once, cached, and what the next run starts from."""

from pathlib import Path

import pytest

from data_tools.files import read_json
from tests.helpers.commands import horovodrun, regionstack

TRAINED = "on drawn pages"


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
