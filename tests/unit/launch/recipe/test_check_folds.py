"""Folds against the training pages that there are, before any job starts."""

import json
import re
from pathlib import Path

import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from data_tools.shards.shard_set import ShardSet
from launch.config import load_config
from launch.recipe.check_folds import check_folds
from tests.helpers.synthetic_pages import made_data
from trainer.job_folder.duplicates import kept_groups


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training pages of three classes."""
    folder = tmp_path_factory.mktemp("shards")
    convert(
        made_data(folder), ShardConfig(folder=str(folder / "sets"), height=8, width=8), regions={}, seed=1, workers=1
    )
    return folder / "sets"


def check(shards: Path, *assignments: str) -> list[str]:
    return check_folds(load_config("demo", [f"shards.folder={shards}", *assignments]))


def test_without_folds_nothing_is_read() -> None:
    assert check(Path("/nowhere")) == []


def test_folds_that_fit(shards: Path) -> None:
    stages = [f"stages.{name}.global_batch=20" for name in ("holistic_32", "holistic_64", "regions")]
    assert check(shards, "stack.folds=2", *stages) == []


def test_a_batch_larger_than_what_a_fold_leaves(shards: Path) -> None:
    stages = [f"stages.{name}.global_batch=20" for name in ("holistic_32", "regions")]
    with pytest.raises(UserError, match=r"stages\.holistic_64\.global_batch: 40 .*stack\.folds"):
        check(shards, "stack.folds=2", "stages.holistic_64.global_batch=40", *stages)


def test_more_folds_than_documents(shards: Path) -> None:
    with pytest.raises(UserError, match=r"stack\.folds: 40 training documents do not fill 50 folds"):
        check(shards, "stack.folds=50")


def test_a_class_with_fewer_documents_than_folds_is_reported(shards: Path) -> None:
    stages = [f"stages.{name}.global_batch=8" for name in ("holistic_32", "holistic_64", "regions")]
    notes = check(shards, "stack.folds=15", *stages)
    assert notes
    assert all("fewer than the 15 folds" in note for note in notes)


STAGES = [f"stages.{name}.global_batch=8" for name in ("holistic_32", "holistic_64", "regions")]


def grouped(shards: Path, run: Path, content: str) -> list[str]:
    path = run.parent / "duplicates.jsonl"
    path.write_text(content)
    settings = [f"run.folder={run}", f"stack.duplicates_file={path}", "stack.folds=2"]
    return check(shards, *settings, *STAGES)


def test_groups_of_duplicates_are_kept_in_the_run_folder(shards: Path, tmp_path: Path) -> None:
    ids = ShardSet.open(shards / "train" / "holistic").ids.tolist()
    content = json.dumps(ids[:3]) + "\n" + json.dumps([ids[5], "other.tif"]) + "\n"
    assert grouped(shards, tmp_path / "run", content) == []
    assert kept_groups(tmp_path / "run") == (tuple(ids[:3]), (ids[5], "other.tif"))
    assert grouped(shards, tmp_path / "run", content) == [], "the same file again"
    with pytest.raises(UserError, match=r"duplicates\.jsonl: this run was made with other groups"):
        grouped(shards, tmp_path / "run", content + "\n" + json.dumps(ids[7:9]))


def test_a_group_that_leaves_a_fold_empty(shards: Path, tmp_path: Path) -> None:
    ids = ShardSet.open(shards / "train" / "holistic").ids.tolist()
    with pytest.raises(UserError, match=r"stack\.folds: 1 training documents do not fill 2 folds"):
        grouped(shards, tmp_path / "run", json.dumps(ids))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a.tif\nb.tif\n", "duplicates.jsonl:1: not a JSON list"),
        ('["a.tif"]\n{"group": ["b.tif"]}\n', "duplicates.jsonl:2: not a JSON list"),
        ('["a.tif", 3]\n', "duplicates.jsonl:1: not a JSON list"),
        ('["not/of/this/set.tif", "b.tif"]\n', "no training page is in it"),
    ],
)
def test_groups_that_cannot_be_used(shards: Path, tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        grouped(shards, tmp_path / "run", content)
    assert "\n" not in str(caught.value)


def test_a_file_of_groups_that_is_missing(shards: Path, tmp_path: Path) -> None:
    settings = [f"run.folder={tmp_path}", "stack.duplicates_file=/nowhere/d.jsonl", "stack.folds=2"]
    with pytest.raises(UserError, match=r"/nowhere/d\.jsonl"):
        check(shards, *settings, *STAGES)


def test_a_stack_that_is_not_fitted_gains_nothing_from_folds(shards: Path) -> None:
    settings = ["stack.folds=2", "stack.method=average", *STAGES]
    assert ["average is not fitted" in note for note in check(shards, *settings)] == [True]
    assert check(shards, *settings, "stack.members=average") == []
