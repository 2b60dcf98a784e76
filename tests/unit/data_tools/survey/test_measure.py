"""Measures of single pages, and what a survey's worker answers."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_tools.survey.measure import (
    CompareTask,
    MeasureSetup,
    MeasureTask,
    PageMeasure,
    ink_share,
    measure,
    open_worker,
    pixel_digest,
)
from data_tools.workers.child import STATUS_WORDS, Items
from tests.helpers.synthetic_pages import write_page

Pixels = NDArray[np.uint8]


def sheet(gray: int, *, noise: float = 0.0) -> Pixels:
    random = np.random.default_rng(0)
    return np.clip(gray + random.normal(0, noise, (500, 380)), 0, 255).astype(np.uint8)


def with_text(page: Pixels, gray: int, rows: int) -> Pixels:
    """Rows of dashes, as text looks from afar."""
    page = page.copy()
    for row in range(rows):
        page[60 + 12 * row : 66 + 12 * row, 50:330:2] = gray
    return page


def with_border(page: Pixels) -> Pixels:
    """The dark edge that a scanner leaves."""
    page = page.copy()
    page[:, :12] = 0
    page[-15:] = 0
    return page


KINDS = [
    ("white", sheet(255), "blank"),
    ("a scan of nothing", sheet(245, noise=6), "blank"),
    ("nothing on gray paper", sheet(120, noise=4), "blank"),
    ("nothing but a scanner's edge", with_border(sheet(250, noise=3)), "blank"),
    ("one line", with_text(sheet(250, noise=5), 0, 1), "page"),
    ("faint pencil", with_text(sheet(250), 180, 8), "page"),
    ("text on gray paper", with_text(sheet(120), 20, 8), "page"),
    ("black", sheet(0), "black"),
    ("a scan with the lid open", sheet(25, noise=10), "black"),
    ("white on black", with_text(sheet(10), 255, 4), "black"),
]


@pytest.mark.parametrize(("what", "page", "kind"), KINDS, ids=[row[0] for row in KINDS])
def test_kinds(what: str, page: Pixels, kind: str) -> None:
    assert measure("x", page).kind == kind


def test_a_measure() -> None:
    found = measure("a/b.tif", with_text(sheet(255), 0, 10))
    assert (found.page_id, found.width, found.height) == ("a/b.tif", 380, 500)
    assert len(found.hash) == 64 and len(found.digest) == 32 and found.reason == ""


def test_ink_is_a_share_of_the_inner_page() -> None:
    page = np.full((100, 100), 255, np.uint8)
    page[:4] = 0
    assert ink_share(page, 255) == 0.0
    page[50] = 0
    assert ink_share(page, 255) == pytest.approx(1 / 92, abs=1e-6)


def test_digests_know_the_shape() -> None:
    assert pixel_digest(np.zeros((2, 8), np.uint8)) != pixel_digest(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (3, 5)])
def test_pages_of_a_few_pixels_are_measured(shape: tuple[int, int]) -> None:
    assert measure("x", np.full(shape, 255, np.uint8)).kind == "blank"


def items() -> Items:
    return Items(memoryview(bytearray(8 * STATUS_WORDS)).cast("q"), 60.0)


def test_a_worker_answers_for_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_tools.survey.measure.limit_memory", lambda _: None)
    write_page(tmp_path / "one.png", with_text(sheet(255), 0, 10))
    write_page(tmp_path / "again.tif", with_text(sheet(255), 0, 10))
    (tmp_path / "bad.tif").write_bytes(b"II*\0 and nothing more")
    handle = open_worker(MeasureSetup(str(tmp_path)))
    known = items()
    known.new_task({3: "the decoder died of SIGSEGV"})
    answer = handle(MeasureTask(["one.png", "again.tif", "gone.tif", "bad.tif"]), known)
    assert [found.kind for found in answer] == ["page", "page", "unreadable", "unreadable"]
    assert answer[0].digest == answer[1].digest
    assert answer[2] == PageMeasure("gone.tif", "unreadable", reason="no such file")
    assert answer[3].reason == "the decoder died of SIGSEGV"


def test_a_page_that_went_away_agrees_with_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_tools.survey.measure.limit_memory", lambda _: None)
    write_page(tmp_path / "one.png", with_text(sheet(255), 0, 30))
    handle = open_worker(MeasureSetup(str(tmp_path)))
    assert handle(CompareTask([("one.png", "one.png"), ("one.png", "gone.png")]), items()) == [1.0, 0.0]
