"""Page paths: links inside the data root are followed, links out of it are refused unless the setting allows them."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.documents.data_set import DataConfig
from data_tools.documents.page_path import page_path
from data_tools.errors import UserError
from data_tools.survey.survey import survey
from tests.helpers.synthetic_pages import made_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`root/pages/a.tif`, and links to it, its folder and a place outside; `rooted` is a neighbor by name."""
    for name in ("root/pages/a.tif", "elsewhere/a.tif", "rooted/a.tif"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    root = tmp_path / "root"
    (root / "file.tif").symlink_to("pages/a.tif")
    (root / "folder").symlink_to(root / "pages")
    (root / "out.tif").symlink_to(tmp_path / "elsewhere" / "a.tif")
    (root / "out").symlink_to("../elsewhere")
    (root / "neighbor").symlink_to("../rooted")
    (root / "gone.tif").symlink_to("../nothing.tif")
    (root / "loop.tif").symlink_to("loop.tif")
    (tmp_path / "link").symlink_to(root)
    return root


@pytest.mark.parametrize("page_id", ["pages/a.tif", "file.tif", "folder/a.tif", "missing.tif", "loop.tif"])
def test_links_inside_the_root_are_followed(root: Path, page_id: str) -> None:
    for start in (root, root.parent / "link"):
        assert page_path(str(start), page_id, outside_links="refuse") == start / page_id


@pytest.mark.parametrize("page_id", ["out.tif", "out/a.tif", "neighbor/a.tif", "gone.tif"])
def test_links_out_of_the_root_are_refused_by_default(root: Path, page_id: str) -> None:
    with pytest.raises(UserError, match=rf"root/{page_id}: leads out of data.root .* data.outside_links: follow"):
        page_path(str(root), page_id, outside_links="refuse")
    assert page_path(str(root), page_id, outside_links="follow") == root / page_id


@pytest.fixture
def linked(tmp_path: Path) -> DataConfig:
    """Pages that lie outside the root, behind a link."""
    data = made_data(tmp_path, counts={"train": 6, "val": 3, "test": 3})
    (tmp_path / "pages" / "images").rename(tmp_path / "images")
    (tmp_path / "pages" / "images").symlink_to(tmp_path / "images")
    return data


def test_conversion_and_survey_refuse_or_follow(linked: DataConfig, tmp_path: Path) -> None:
    shards = ShardConfig(folder=str(tmp_path / "s"), height=16, width=12)
    with pytest.raises(UserError, match="leads out of"):
        convert(linked, shards, regions={}, seed=1, workers=1)
    with pytest.raises(UserError, match="leads out of"):
        survey(linked, seed=1, workers=1)
    follow = replace(linked, outside_links="follow")
    assert convert(follow, shards, regions={}, seed=1, workers=1).rejected == 0
    assert all(measure.kind != "unreadable" for measure in survey(follow, seed=1, workers=1).measures.values())
