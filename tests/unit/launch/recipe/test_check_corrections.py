"""Corrections against the shards, before the first job."""

from pathlib import Path

import pytest

from data_tools.conversion.convert import convert
from data_tools.errors import UserError
from data_tools.files import read_json
from launch.config import Config, load_config
from launch.recipe.corrections import check_corrections
from launch.recipe.jobs import job_specs
from launch.recipe.stages import plan_recipe
from launch.run.folder import open_run
from tests.helpers.synthetic_pages import made_data

CLASS_3 = [f"images/train/{'x' * (place % 5)}{place}.tif" for place in range(0, 40, 3)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    data = made_data(folder)
    config = load_config("demo", [*_settings(folder), "data.class_names=null"])
    convert(data, config.shards, regions={}, seed=1, workers=1)
    return folder


def _settings(folder: Path) -> list[str]:
    places = [f"data.{split}={folder / split}.txt" for split in ("train", "val", "test")]
    return [*places, f"data.root={folder / 'pages'}", f"shards.folder={folder / 'shards'}",
            "shards.height=16", "shards.width=12"]  # fmt: skip


def opened(shards: Path, run: Path, *rows: str, weights: str = "null") -> Config:
    file = run.with_suffix(".csv")
    file.write_text("\n".join(["id,split,label,new_label", *rows, ""]))
    more = ["data.class_names=null", f"data.corrections={file}", f"data.class_weights={weights}", f"run.folder={run}"]
    config = load_config("demo", [*_settings(shards), *more])
    open_run(config)
    return config


def test_the_effect_is_printed_and_recorded(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = opened(shards, tmp_path / "run", "images/train/0.tif,train,3,7", "images/val/0.tif,val,3,exclude")
    check_corrections(config)
    assert read_json(tmp_path / "run" / "corrections.json")["splits"] == {
        "train": {"relabel": 1}, "val": {"exclude": 1}, "test": {}
    }  # fmt: skip
    assert "train: 1 with another label" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (["images/train/0.tif,train,3,7", "images/none.tif,train,3,7"], ":3: no page images/none.tif"),
        (["images/train/0.tif,val,3,7"], ":2: no page images/train/0.tif among the val pages"),
        (["images/train/0.tif,train,7,3"], ":2: page images/train/0.tif has the label 3"),
        (["images/test/0.tif,test,3,4"], ":2: no class 4"),
        (["images/test/0.tif,test,3,7", "images/test/0.tif,test,3,20"], ":3: contradicts line 2"),
        ([f"{page},train,3,exclude" for page in CLASS_3], "class 3 without training pages"),
        ([f"images/val/{'x' * (i % 5)}{i}.tif,val,{(3, 7, 20)[i % 3]},exclude" for i in range(12)], "no page in val"),
    ],
)
def test_corrections_that_do_not_fit(shards: Path, tmp_path: Path, rows: list[str], named: str) -> None:
    config = opened(shards, tmp_path / "run", *rows)
    with pytest.raises(UserError, match=r"^data\.corrections: ") as caught:
        check_corrections(config)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_jobs_know_of_corrections_and_count_classes_with_them(shards: Path, tmp_path: Path) -> None:
    config = opened(shards, tmp_path / "run", "images/train/0.tif,train,3,7", weights="{3: 2.0}")
    recipe = plan_recipe(config)
    assert all(job.corrected for job in recipe.jobs)
    plain = opened(shards, tmp_path / "plain", weights="{3: 2.0}")
    weights, before = (
        job_specs(each, recipe, recipe.job_names)[-1].payload["class_weights"] for each in (config, plain)
    )
    assert weights["3"] == pytest.approx(2 * 40 / (40 + 13))
    assert before["3"] == pytest.approx(2 * 40 / (40 + 14))
