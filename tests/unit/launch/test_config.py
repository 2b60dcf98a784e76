"""The paths of a configuration."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.config import load_config
from launch.recipe.jobs import check_exclude_ids, job_specs
from launch.recipe.stages import plan_recipe


def test_paths_are_absolute_and_stay_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config("demo", ["stack.exclude_ids_file=leaked.txt", "run.folder=/elsewhere/run"])
    paths = config.paths
    monkeypatch.chdir("/")
    assert config.paths == paths
    assert paths.shards == tmp_path / "demo" / "shards"
    assert paths.data_root == tmp_path / "demo" / "pages"
    assert paths.shard_set("val", "top") == tmp_path / "demo" / "shards" / "val" / "top"
    assert paths.run == Path("/elsewhere/run")
    recipe = plan_recipe(config)
    assert {job.shards for job in recipe.jobs} == {str(paths.shards)}, "workers run in other folders"
    assert job_specs(config, recipe, ["stack"])[0].payload["config"]["exclude_ids_file"] == str(tmp_path / "leaked.txt")


def test_a_missing_list_of_duplicates_is_an_error(tmp_path: Path) -> None:
    config = load_config("demo", [f"stack.exclude_ids_file={tmp_path / 'leaked.txt'}"])
    with pytest.raises(UserError, match=r"leaked\.txt: no such file"):
        check_exclude_ids(config)
    (tmp_path / "leaked.txt").write_text("")
    check_exclude_ids(config)
