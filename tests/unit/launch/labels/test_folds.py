"""The configuration that trains the whole-page model once for each fold, in a folder inside the run."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.config import Config, load_config
from launch.labels.folds import fold_config, trained_folds
from launch.recipe.stages import plan_recipe


def derived(run: Path, config: Config, folds: int = 3) -> Config:
    return fold_config(config, run, folds=folds, shards=Path("/elsewhere/shards"))


def test_only_whole_page_stages_are_trained_for_each_fold(tmp_path: Path) -> None:
    found = derived(tmp_path, load_config("rvl_cdip", ["data.corrections=mine.csv", f"run.folder={tmp_path}"]))
    recipe = plan_recipe(found)
    assert recipe.members == ("holistic_256",)
    assert [job.name for job in recipe.jobs if job.fold is None] == []
    assert len(recipe.fold_jobs["holistic_256"]) == 3
    assert found.paths.run == tmp_path / "labels" / "folds"
    assert found.paths.shards == Path("/elsewhere/shards")
    assert found.model.weights == str(tmp_path / "weights" / "start.weights.h5"), "the run's own copy"
    assert found.data.corrections == str(tmp_path / "corrections.csv"), "the run's own copy"
    assert all(job.corrected for job in recipe.jobs)


@pytest.mark.parametrize(
    ("settings", "folds", "named"),
    [
        ([], 1, "--retrain 1"),
        (["stack.folds=3"], 3, "stack.folds"),
        (["stages.holistic_32=null", "stages.holistic_64=null", "stages.regions.start=weights"], 3, "whole-page"),
    ],
)
def test_what_cannot_be_trained(tmp_path: Path, settings: list[str], folds: int, named: str) -> None:
    with pytest.raises(UserError, match=named):
        derived(tmp_path, load_config("demo", settings), folds)


def test_no_folds_are_trained(tmp_path: Path) -> None:
    assert trained_folds(tmp_path) is None
