"""Folds against the training pages that there are, before any job starts."""

from pathlib import Path

import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from launch.config import load_config
from launch.recipe.check_folds import check_folds
from tests.helpers.synthetic_pages import made_data


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
