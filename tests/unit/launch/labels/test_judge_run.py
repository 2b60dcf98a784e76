"""What judging needs of a run before it computes anything."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.labels.corrections import Correction, original_labels, read_corrections, write_corrections
from launch.api import Run
from launch.config import load_config
from launch.labels.judge_run import RunShards, feature_space


def test_start_weights_that_are_gone(tmp_path: Path) -> None:
    config = load_config("rvl_cdip", [f"run.folder={tmp_path}"])
    with pytest.raises(UserError, match=r"start\.weights\.h5: the start weights of this run are missing"):
        feature_space(RunShards(Run(tmp_path, config), None, None))


def test_labels_in_the_shards_of_corrected_pages(tmp_path: Path) -> None:
    rows = [
        Correction(id="a", split="train", label="email", new_label="3"),
        Correction(id="a", split="val", label="3", new_label="exclude"),
    ]
    write_corrections(tmp_path / "c.csv", rows)
    given = read_corrections(tmp_path / "c.csv")
    found = original_labels(given, class_ids=[3, 7], class_names=["letter", "email"])
    assert found == {("train", "a"): 7, ("val", "a"): 3}
    with pytest.raises(UserError, match=r"c\.csv:2: no class email"):
        original_labels(given, class_ids=[3, 7], class_names=["letter", "memo"])
