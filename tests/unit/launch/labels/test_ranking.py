"""The files of a ranking: what is written is read back, and what is incomplete is refused."""

import json
from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.labels.ranking import (
    FORMAT,
    RANKING,
    SUMMARY,
    Neighbor,
    RankedPage,
    RankingSummary,
    begin_decisions,
    read_ranking,
    write_ranking,
)

SUMMARY_VALUE: RankingSummary = {
    "format": FORMAT, "created": 1.0, "kind": "splits", "run": "runs/a", "classes": [{"id": 0, "name": "letter"}],
    "pages": 2,
}  # fmt: skip


def _page(rank: int, label: int | None = 4) -> RankedPage:
    return RankedPage(
        id=f"é {rank}.tif", split="train", label=label, original=label, likely=6, score=0.25, rank=rank, suspect=True,
        scored_by="stack", probabilities={"stack": (0.25, 0.75)},
        nearest=(Neighbor(id="n.tif", label=6, similarity=0.5),),
    )  # fmt: skip


def test_pages_are_read_back(tmp_path: Path) -> None:
    pages = [_page(1), _page(2, label=None)]
    write_ranking(tmp_path, SUMMARY_VALUE, iter(pages))
    found = read_ranking(tmp_path)
    assert list(found.pages) == pages
    assert found.summary == SUMMARY_VALUE
    assert list(read_ranking(tmp_path, most=1).pages) == pages[:1]


def test_an_unfinished_ranking_is_none(tmp_path: Path) -> None:
    write_ranking(tmp_path, SUMMARY_VALUE, [_page(1)])

    def interrupted() -> object:
        yield _page(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_ranking(tmp_path, SUMMARY_VALUE, interrupted())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no ranking"):
        read_ranking(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (SUMMARY, json.dumps({**SUMMARY_VALUE, "format": FORMAT + 1})),
        (SUMMARY, "[]"),
        (SUMMARY, "{"),
        (SUMMARY, json.dumps({"format": FORMAT})),
        (SUMMARY, json.dumps({**SUMMARY_VALUE, "classes": None})),
        (RANKING, ""),
        (RANKING, "null\n"),
        (RANKING, "{\n"),
        (RANKING, "[]\n"),
        (RANKING, '{"id": 1}\n'),
    ],
)
def test_corrupt_files_are_named(tmp_path: Path, name: str, text: str) -> None:
    write_ranking(tmp_path, SUMMARY_VALUE, [_page(1)])
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name):
        read_ranking(tmp_path)


def test_a_ranking_that_is_cut_off_is_corrupt_even_behind_the_pages_that_are_read(tmp_path: Path) -> None:
    write_ranking(tmp_path, SUMMARY_VALUE, [_page(1), _page(2)])
    path = tmp_path / RANKING
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=RANKING):
        read_ranking(tmp_path, most=1)


def test_a_ranking_of_no_page_is_complete(tmp_path: Path) -> None:
    write_ranking(tmp_path, {**SUMMARY_VALUE, "pages": 0}, [])
    assert read_ranking(tmp_path).pages == []


def test_a_review_begins_with_the_corrections_of_the_run(tmp_path: Path) -> None:
    table = tmp_path / "labels" / "corrections.csv"
    begin_decisions(table.parent, tmp_path / "corrections.csv")
    assert not table.exists(), "a run without corrections"
    (tmp_path / "corrections.csv").write_text("first round")
    begin_decisions(table.parent, tmp_path / "corrections.csv")
    assert table.read_text() == "first round"
    table.write_text("both rounds")
    begin_decisions(table.parent, tmp_path / "corrections.csv")
    assert table.read_text() == "both rounds"
