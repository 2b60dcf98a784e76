"""What is prepared before the first job: pages that are missing, the demo's that are drawn."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from data_tools.config import override
from data_tools.conversion.convert import ShardConfig, convert
from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE
from data_tools.errors import UserError
from launch.config import config_from, load_config
from launch.recipe import demo
from launch.recipe.prepare import check_labels, check_shards, convert_missing, ensure_shards
from tests.helpers.synthetic_pages import made_data

Drawn = list[tuple[Path, dict[str, Any]]]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The calls that draw pages; none are drawn."""
    calls: Drawn = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("data_tools.drawn.draw_data_set", lambda folder, **more: calls.append((folder, more)) or True)
    return calls


@pytest.mark.parametrize(("settings", "draws"), [([], 1), (["seed=7"], 1), (["data.root=elsewhere"], 0)])
def test_the_demos_own_pages_are_drawn_where_they_are_missing(
    drawn: Drawn, tmp_path: Path, settings: list[str], draws: int
) -> None:
    with pytest.raises(UserError, match=r"data\.root"):  # since nothing was really drawn
        ensure_shards(load_config("demo", settings))
    assert [folder for folder, _ in drawn] == [tmp_path / "demo" / "pages"] * draws


def test_pages_that_are_there_are_not_drawn(drawn: Drawn, tmp_path: Path) -> None:
    (tmp_path / "demo" / "pages").mkdir(parents=True)
    assert not demo.ensure_demo_pages(load_config("demo"))
    assert not drawn


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training pages of three classes."""
    folder = tmp_path_factory.mktemp("shards")
    sizes = ShardConfig(folder=str(folder / "sets"), height=16, width=16)
    convert(made_data(folder), sizes, regions={HOLISTIC: WHOLE_PAGE}, seed=1, workers=1)
    return folder / "sets"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ([], None),
        (["stages.second.global_batch=48"], r"^stages\.second\.global_batch: 48 is more than the 40 training pages"),
        (["stages.second.image_px=17"], r"^stages\.second\.image_px: 17 is more"),
        (["stack.hidden=2"], r"^stack\.hidden: 2 units cannot start as the average of 3 classes; give 3 or more"),
        (["stack.hidden=2", "stack.start=random"], None),
    ],
)
def test_what_cannot_work_later_is_found_before_the_first_job(
    shards: Path, settings: list[str], problem: str | None
) -> None:
    stages = {"first": {"image_px": 16, "global_batch": 8}, "second": {"image_px": 16, "global_batch": 8}}
    mapping = {"shards": {"folder": str(shards), "height": 16, "width": 16}, "regions": {}, "stages": stages,
               "model": {"backbone": "SmallConvNet"}, "data": {"root": ".", "labels": "unused"}}  # fmt: skip
    config = config_from(override(mapping, settings))
    with nullcontext() if problem is None else pytest.raises(UserError, match=problem):
        check_shards(config)
        check_labels(config)


def test_missing_pages_name_the_ways_to_bring_them(tmp_path: Path) -> None:
    config = load_config("demo", [f"data.root={tmp_path / 'scans'}", f"shards.folder={tmp_path / 'shards'}"])
    with pytest.raises(UserError) as caught:
        convert_missing(config, progress=lambda *_: None)
    text = str(caught.value)
    ways = ("regionstack submit", f"ray rsync-up CLUSTER.yaml DIR/ {tmp_path / 'scans'}/", "s3", "NFS")
    assert all(part in text for part in ("data.root", str(tmp_path / "scans"), *ways))
    assert "\n" not in text
