"""Labels are read before anything is sent, where they are on this machine."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.config import Config, config_from, load_config, resolved
from launch.submission.check import check_labels


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Label files in the working folder; pages that are elsewhere."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.txt").write_text(f"{split}-a.tif 0\n{split}-b.tif 1\n")
    (tmp_path / "scans").mkdir()
    mapping = resolved(load_config("demo"))
    files = {split: f"{split}.txt" for split in ("train", "val", "test")}
    mapping["data"] |= {"root": "gone", "class_names": ["a", "b"], **files}
    return config_from(mapping)


def test_labels_beside_the_pages_are_read(config: Config) -> None:
    assert check_labels(config, pages="scans")


def test_labels_that_contradict_each_other_are_an_error(config: Config) -> None:
    Path("val.txt").write_text("a.tif 0\na.tif 1\n")
    with pytest.raises(UserError, match=r"a\.tif"):
        check_labels(config, pages="scans")


def test_what_the_cluster_alone_has_is_checked_there(config: Config) -> None:
    assert not check_labels(config, pages=None)
    assert not check_labels(config, pages="s3://bucket/scans")
    Path("val.txt").unlink()
    assert not check_labels(config, pages="scans")
