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


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_an_error(seed: int) -> None:
    with pytest.raises(UserError, match=rf"^seed: must be at least 0 and less than 4294967296, found {seed}$"):
        load_config("demo", [f"seed={seed}"])


@pytest.mark.parametrize(
    ("data", "assignments", "sources"),
    [
        ("labels: all.csv", [], {"all": "all.csv"}),
        ("root: x", ["data.labels=all.csv"], {"all": "all.csv"}),
        ("labels: all.csv", ["data.train=a", "data.val=b", "data.test=c"], {"train": "a", "val": "b", "test": "c"}),
        ("train: a.txt", [], {"train": "a.txt"} | {s: f"demo/pages/labels/{s}.txt" for s in ("val", "test")}),
        ("train: a.txt, val: null, test: null, split: {}", [], {"all": "a.txt"}),
    ],
)  # fmt: skip
def test_label_sources_replace_those_of_the_preset(
    tmp_path: Path, data: str, assignments: list[str], sources: dict[str, str]
) -> None:
    (tmp_path / "my.yaml").write_text(f"preset: demo\ndata: {{{data}}}\n")
    assert load_config(str(tmp_path / "my.yaml"), assignments).data.sources == sources


def test_two_kinds_of_label_sources_in_one_file_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("preset: demo\ndata: {labels: all.csv, val: b.txt}\n")
    with pytest.raises(UserError, match=r"^data\.labels, "):
        load_config(str(tmp_path / "my.yaml"))


@pytest.mark.parametrize(
    ("given", "weights"), [("balanced", "balanced"), ("{3: 2, memo: 0.5}", {"3": 2.0, "memo": 0.5}), ("null", None)]
)
def test_class_weights_reach_every_job(tmp_path: Path, given: str, weights: object) -> None:
    config = load_config("demo", [f"data.class_weights={given}", f"shards.folder={tmp_path}"])
    recipe = plan_recipe(config)
    assert [job.class_weights for job in recipe.jobs] == [weights] * len(recipe.jobs)
    ours = job_specs(config, recipe, ["stack"])[0].payload["class_weights"]
    assert ours == (None if isinstance(weights, dict) else weights), "weights by name need the shards"


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "https://mlflow.example.com/base", "file:/data/store"])
def test_addresses_of_mlflow(uri: str) -> None:
    assert load_config("demo", [f"tracking.mlflow={uri}"]).tracking.mlflow == uri


@pytest.mark.parametrize("uri", ["mlflow:5000", "http://", "sqlite:///runs.db", "http://me:secret@mlflow", "ftp://a"])
def test_addresses_that_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="mlflow: must") as caught:
        load_config("demo", [f"tracking.mlflow={uri}"])
    assert "secret" not in str(caught.value)
