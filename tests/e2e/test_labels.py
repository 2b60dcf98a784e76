"""`regionstack labels` on a finished run: the ranking of all labels, and pages to label next."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_tools.shards.shard_set import ShardSet
from launch.labels.ranking import Ranking, ranking_folder, read_ranking
from tests.helpers.commands import regionstack
from tests.helpers.tiny import PAGES


@pytest.fixture(scope="module")
def ranked(finished: Path) -> Ranking:
    """The ranking of the finished run; its pages have fresh weights as their judge, which know little."""
    output = regionstack("labels", str(finished), "--top", "3")
    assert str(ranking_folder(finished) / "ranking.jsonl") in output
    return read_ranking(ranking_folder(finished))


def test_every_label_is_ranked_once(ranked: Ranking, tiny: Path) -> None:
    shards = Path(yaml.safe_load(tiny.read_text())["shards"]["folder"])
    pages = {(page.split, page.id): page for page in ranked.pages}
    assert len(pages) == len(ranked.pages) == 16 * sum(PAGES.values()) == ranked.summary["pages"]
    for split in PAGES:
        opened = ShardSet.open(shards / split / "holistic")
        labels = np.array(opened.manifest.class_ids)[opened.labels].tolist()
        assert {page_id: pages[split, page_id].label for page_id in opened.ids.tolist()} == dict(
            zip(opened.ids.tolist(), labels, strict=True)
        )
    scores = [page.score for page in ranked.pages]
    assert scores == sorted(scores, reverse=True)


def test_outputs_did_not_learn_from_the_label(ranked: Ranking) -> None:
    splits = ranked.summary["splits"]
    assert {split: one["outputs"] for split, one in splits.items()} == {
        "train": "features", "val": "predictions", "test": "predictions"
    }  # fmt: skip
    for page in ranked.pages:
        trained = page.split == "train"
        assert set(page.probabilities) == (
            {"features"} if trained else {"holistic_32px", "top", "bottom", "left", "right", "stack"}
        )
        assert page.scored_by in page.probabilities
        assert page.id not in [near.id for near in page.nearest]
        assert len(page.nearest) == 5
    assert np.sum(ranked.summary["joint"]) == pytest.approx(len(ranked.pages), abs=1e-3)


def test_the_same_command_gives_the_same_ranking(ranked: Ranking, finished: Path) -> None:
    before = (ranking_folder(finished) / "ranking.jsonl").read_bytes()
    regionstack("labels", str(finished))
    assert (ranking_folder(finished) / "ranking.jsonl").read_bytes() == before
    assert ranked.pages


def test_pages_to_label_next(finished: Path, tiny: Path, tmp_path: Path) -> None:
    pages = sorted((tiny.parent / "pages" / "images" / "test").rglob("*.tif"))
    for number, page in enumerate([*pages[:6], pages[0]]):
        shutil.copy(page, tmp_path / f"{number}.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    output = regionstack("labels", str(finished), "--pool", str(tmp_path), "--most", "6")
    assert "1 pages cannot be read" in output
    found = read_ranking(ranking_folder(finished, pool=True))
    assert found.summary["root"] == str(tmp_path)
    assert len(found.pages) == 6
    copies = [page.rank for page in found.pages if page.id in ("0.tif", "6.tif")]
    assert len(copies) < 2 or max(copies) == 6, "a copy of a chosen page is the least useful one"
    assert all(page.label is None and page.nearest and "features" not in page.probabilities for page in found.pages)
    output = regionstack("labels", str(finished), "--pool", str(tiny.parent / "pages" / "images"), status=2)
    assert "labelled in this run" in output


def test_runs_and_folders_that_cannot_be_used(finished: Path, tmp_path: Path) -> None:
    assert "not a folder" in regionstack("labels", str(finished), "--pool", str(tmp_path / "none"), status=2)
    assert "--retrain" in regionstack("labels", str(finished), "--pool", str(tmp_path), "--retrain", "3", status=2)
    unfinished = tmp_path / "run"
    shutil.copytree(finished, unfinished, ignore=shutil.ignore_patterns("stack", "labels"))
    assert "stack is not finished" in regionstack("labels", str(unfinished), status=2)


def test_folds_judge_the_training_pages(finished: Path, tmp_path: Path) -> None:
    """In a copy of the run; a later call without the option uses the folds that are there."""
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("labels"))
    for options in (["--retrain", "2"], []):
        regionstack("labels", str(run), *options)
        ranking = read_ranking(ranking_folder(run))
        assert ranking.summary["splits"]["train"]["outputs"] == "folds"
        judges = {page.scored_by for page in ranking.pages if page.split == "train"}
        assert judges == {"holistic_32px"}
        assert len(ranking.pages) == 16 * sum(PAGES.values())
    assert sorted(path.name for path in (run / "jobs").iterdir()) == sorted(
        path.name for path in (finished / "jobs").iterdir()
    ), "the run's own jobs are as before"
