"""The run folder: created once, and resumed only with the same configuration."""

import json
from pathlib import Path

import pytest
import yaml

from data_tools.errors import UserError
from launch.config import Config, load_config
from launch.recipe.jobs import job_specs
from launch.recipe.stages import plan_recipe
from launch.run.folder import open_run, unfinished_jobs


def config(folder: Path, *assignments: str) -> Config:
    return load_config("demo", [f"run.folder={folder}", *assignments])


def test_created_and_opened_again(tmp_path: Path) -> None:
    folder = open_run(config(tmp_path / "run"))
    created = json.loads((folder / "run.json").read_text())
    assert created["versions"]["python"].startswith("3.")
    open_run(config(tmp_path / "run"))
    assert json.loads((folder / "run.json").read_text()) == created, "a run is created once"


@pytest.mark.parametrize(
    ("assignment", "field"),
    [
        ("stages.regions.epochs=99", "stages.regions.epochs: 4 -> 99"),
        ("seed=2", "seed: 1 -> 2"),
        ("regions=das2018", "regions: 'halves' -> 'das2018'"),
        ("shards.height=128", "shards.height: 64 -> 128"),
        ("model.dropout=0.5", "model.dropout"),
    ],
)
def test_another_configuration_is_rejected_naming_its_fields(tmp_path: Path, assignment: str, field: str) -> None:
    folder = tmp_path / "run"
    open_run(config(folder))
    before = (folder / "config.yaml").read_text()
    with pytest.raises(UserError) as caught:
        open_run(config(folder, assignment))
    assert field in str(caught.value)
    assert (folder / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    "assignment", ["cluster.slots=8", "checkpoint.every_seconds=5", "data.root=elsewhere", "shards.workers=1"]
)
def test_settings_that_do_not_affect_results_may_change(tmp_path: Path, assignment: str) -> None:
    open_run(config(tmp_path / "run"))
    open_run(config(tmp_path / "run", assignment))


def test_a_setting_that_an_earlier_version_did_not_have_counts_with_its_default(tmp_path: Path) -> None:
    folder = open_run(config(tmp_path / "run"))
    recorded = yaml.safe_load((folder / "config.yaml").read_text())
    del recorded["stack"]["precision"], recorded["checkpoint"]
    (folder / "config.yaml").write_text(yaml.safe_dump(recorded))
    with pytest.raises(UserError, match=r"stack\.precision: 0\.95 -> 0\.9"):
        open_run(config(tmp_path / "run", "stack.precision=0.9"))
    open_run(config(tmp_path / "run"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"set run\.folder"):
        open_run(config(tmp_path / "file" / "run"))


def test_unfinished_jobs_are_those_without_a_result(tmp_path: Path) -> None:
    recipe = plan_recipe(config(tmp_path))
    everything = ["holistic_32", "holistic_64", "top", "bottom", "left", "right", "stack"]
    assert unfinished_jobs(tmp_path, recipe) == everything
    for name in ("holistic_32", "top"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        (tmp_path / "jobs" / name / "result.json").write_text("{}")
    assert unfinished_jobs(tmp_path, recipe) == ["holistic_64", "bottom", "left", "right", "stack"]


def test_jobs_depend_on_unfinished_jobs_only(tmp_path: Path) -> None:
    settings = config(tmp_path, "cluster.workers_per_region=2")
    recipe = plan_recipe(settings)
    specs = {spec.name: spec for spec in job_specs(settings, recipe, unfinished_jobs(tmp_path, recipe))}
    assert specs["holistic_64"].depends_on == ("holistic_32",)
    assert specs["top"].depends_on == ("holistic_64",)
    assert specs["stack"].depends_on == recipe.members
    assert (specs["holistic_32"].workers, specs["top"].workers, specs["stack"].workers) == (None, 2, 1)
    assert specs["holistic_32"].global_batch == 64
    later = {spec.name: spec for spec in job_specs(settings, recipe, ["right", "stack"])}
    assert later["right"].depends_on == ()
    assert later["stack"].depends_on == ("right",)
    json.dumps([spec.payload for spec in specs.values()])  # plain data


def test_a_run_of_a_version_without_a_setting_resumes_with_its_default(tmp_path: Path) -> None:
    folder = open_run(config(tmp_path / "run"))
    recorded = yaml.safe_load((folder / "config.yaml").read_text())
    for name in ("labels", "columns", "split", "allow_empty_classes"):
        del recorded["data"][name]
    (folder / "config.yaml").write_text(yaml.safe_dump(recorded))
    assert open_run(config(tmp_path / "run")) == folder
    with pytest.raises(UserError, match=r"data\.split"):
        open_run(config(tmp_path / "run", "data.split={val: 0.2}"))
