"""What travels with a run, from a configuration for this machine or for the cluster."""

from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import UserError
from launch.config import Config, config_from, load_config, resolved
from launch.submission.parcel import plan_parcel


def config(**data: Any) -> Config:
    mapping = resolved(load_config("demo", ["run.folder=runs/first"]))
    mapping["data"] |= {"root": "scans", "train": "labels/train.txt", "val": "labels/val.txt",
                        "test": "labels/test.txt", "class_names": ["a"]} | data  # fmt: skip
    return config_from(mapping)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with label files and pages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "scans").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / "labels" / f"{split}.txt").write_text("a.tif 0\n")
    return tmp_path


def test_files_that_are_here_travel_to_the_same_relative_path(here: Path) -> None:
    parcel = plan_parcel(config())
    assert set(parcel.files) == {f"labels/{split}.txt" for split in ("train", "val", "test")}
    assert parcel.settings == resolved(config())
    assert parcel.expected == ("scans",), "without --pages, they have to be there"
    assert (parcel.config, parcel.run) == ("submitted/runs-first.yaml", "runs/first")


@pytest.mark.parametrize("path", ["{here}/labels/train.txt", "../{name}/labels/train.txt"])
def test_a_path_that_means_nothing_there_gets_another(here: Path, path: str) -> None:
    parcel = plan_parcel(config(train=path.format(here=here, name=here.name)))
    there = "submitted/runs-first/train-train.txt"
    assert parcel.files[there].samefile(here / "labels" / "train.txt")
    assert parcel.settings["data"]["train"] == there
    assert config_from(parcel.settings).data.train == there, "still a configuration"


def test_files_that_are_not_here_are_expected_there(here: Path) -> None:
    parcel = plan_parcel(config(train="/srv/regionstack/train.txt", class_names="names.txt"))
    assert parcel.expected == ("/srv/regionstack/train.txt", "names.txt", "scans")
    assert set(parcel.files) == {"labels/val.txt", "labels/test.txt"}


PAGES = [  # data.root, --pages, the folder there
    ("scans", "scans", "scans"),
    ("scans", "s3://bucket/rvl", "scans"),
    ("{here}/scans", "{here}/scans", "pages/{name}-scans"),
    ("../scans", "scans", "pages/scans"),
    ("/srv/regionstack/pages", "scans", "/srv/regionstack/pages"),
]


@pytest.mark.parametrize(("root", "pages", "there"), PAGES)
def test_where_the_pages_are_sent(here: Path, root: str, pages: str, there: str) -> None:
    root, pages, there = (text.format(here=here, name=here.name) for text in (root, pages, there))
    parcel = plan_parcel(config(root=root), pages=pages)
    assert parcel.pages == (pages, there)
    assert parcel.settings["data"]["root"] == there
    assert parcel.expected == ()


def test_labels_that_come_with_the_pages_are_not_expected_before(here: Path) -> None:
    assert plan_parcel(config(train="scans/train.txt"), pages="s3://bucket/scans").expected == ()


def test_folders_of_classes_move_with_the_pages(here: Path) -> None:
    folders = {split: f"{here}/scans/{split}" for split in ("train", "val", "test")}
    parcel = plan_parcel(config(root=f"{here}/scans", **folders), pages=f"{here}/scans")
    assert parcel.pages is not None
    assert parcel.settings["data"]["train"] == f"{parcel.pages[1]}/train"
    assert not parcel.files


def test_a_bucket_is_copied_by_the_job_before_it_trains(here: Path) -> None:
    train = "exec python -m launch.train_all --config submitted/runs-first.yaml"
    assert plan_parcel(config(), pages="scans").entrypoint == train
    pull = "python -m cluster.remote.pull 's3://bucket/my scans' scans"
    assert plan_parcel(config(), pages="s3://bucket/my scans").entrypoint == f"{pull} && {train}"


def test_pages_that_are_not_here_are_an_error(here: Path) -> None:
    with pytest.raises(UserError, match="--pages gone"):
        plan_parcel(config(), pages="gone")


def test_the_demo_needs_nothing(here: Path) -> None:
    parcel = plan_parcel(load_config("demo"))
    assert (parcel.expected, dict(parcel.files)) == ((), {})
