"""What is prepared before the first job: pages that are missing, the demo's that are drawn."""

from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import UserError
from launch.config import load_config
from launch.recipe import demo
from launch.recipe.prepare import convert_missing, ensure_shards

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


def test_missing_pages_name_the_ways_to_bring_them(tmp_path: Path) -> None:
    config = load_config("demo", [f"data.root={tmp_path / 'scans'}", f"shards.folder={tmp_path / 'shards'}"])
    with pytest.raises(UserError) as caught:
        convert_missing(config, progress=lambda *_: None)
    text = str(caught.value)
    ways = ("regionstack submit", f"ray rsync-up CLUSTER.yaml DIR/ {tmp_path / 'scans'}/", "s3", "NFS")
    assert all(part in text for part in ("data.root", str(tmp_path / "scans"), *ways))
    assert "\n" not in text
