"""The review page in a real browser: with keys alone, over a reload, downloaded, served, and on a phone."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from data_tools.documents.pixels import decode
from data_tools.labels.corrections import read_corrections
from data_tools.labels.table import parse_table
from data_tools.shards.reader import ShardSet
from launch.labels.ranking import read_ranking, write_ranking
from launch.labels.review.content import ReviewOptions, open_review
from launch.labels.review.server import write_review
from tests.helpers.browser import chromium
from tests.helpers.commands import ROOT, environment
from tests.helpers.untrained_run import make_shards
from tests.unit.launch.labels.review.ranked import IDS, make_run, ranked

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """The page in a browser of its own; a message on the console or a request elsewhere fails the test."""
    with browser.new_context(**{"viewport": DESKTOP, **options}) as context:
        tab = context.new_page()
        noticed: list[str] = []
        # Chromium reports each answer of 4xx there; the page shows them to people.
        tab.on("console", lambda m: m.text.startswith("Failed to load resource") or noticed.append(m.text))
        tab.on("pageerror", lambda error: noticed.append(str(error)))
        tab.on("request", lambda r: r.url.startswith((url, "data:", "blob:")) or noticed.append(r.url))
        tab.goto(url)
        yield tab
        assert noticed == []


def shown(page: Any) -> str:
    return str(page.locator("#caption").inner_text().partition(" · ")[0])


@contextmanager
def served(run: Path, *more: str) -> Iterator[str]:
    """The address of a served review."""
    command = [sys.executable, "-m", "launch.cli", "labels", str(run), "--serve", *more]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        try:
            yield re.findall(r"http://\S+", line)[0]
        finally:
            process.terminate()
            process.wait(20)


def test_a_review_with_keys_alone_a_reload_and_a_download(browser: Any, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "review.html"
    write_review(ReviewOptions(run=run), file)
    with opened(browser, file.as_uri()) as page:
        page.wait_for_selector("#review:not([hidden])")
        assert shown(page) == IDS[0]
        assert page.eval_on_selector("#zoom img", "image => image.naturalWidth") == 90
        assert "</script><b>memo" in page.locator("#labels").inner_text()
        assert page.locator(".model").count() == 2
        assert page.locator("#nearest img").count() == 1
        page.keyboard.press("k")
        assert shown(page) == IDS[1]
        page.keyboard.press("r")
        page.keyboard.type("lett")
        page.keyboard.press("Enter")
        assert shown(page) == IDS[2]
        assert "no longer" in page.locator("#zoom").inner_text()
        page.keyboard.press("x")
        page.keyboard.press("z")
        assert shown(page) == IDS[2]
        page.keyboard.press("l")
        assert shown(page) == IDS[3]
        page.keyboard.press("u")
        page.keyboard.press("ArrowLeft")
        assert (page.locator("#bar").evaluate("bar => bar.value"), shown(page)) == (4, IDS[2])
        page.reload()
        page.wait_for_selector("#review:not([hidden])")
        assert page.locator("#bar").evaluate("bar => bar.value") == 4
        assert shown(page) == IDS[2]
        with page.expect_download() as download:
            page.keyboard.press("d")
        download.value.save_as(tmp_path / "corrections.csv")
    rows = read_corrections(tmp_path / "corrections.csv").rows
    assert [(row.id, row.split, row.label, row.new_label) for row in rows] == [
        (IDS[0], "train", "2", "keep"), (IDS[1], "train", "2", "0"), (IDS[2], "train", "2", "4"),
    ]  # fmt: skip
    assert {(row.run, row.score) for row in rows} == {("runs/<my>", "0.9")}
    assert all(row.time for row in rows)


def test_decisions_are_served_into_the_table(browser: Any, run: Path) -> None:
    table = run / "labels" / "corrections.csv"
    with served(run) as url:
        with opened(browser, url) as page:
            page.wait_for_selector("#review:not([hidden])")
            page.get_by_label("Your name").fill("Anna")
            page.locator("#title").click()
            for key in "x2":
                with page.expect_response("**/decisions"):
                    page.keyboard.press(key)
            assert [(r.id, r.new_label, r.by) for r in read_corrections(table).rows] == [
                (IDS[0], "exclude", "Anna"), (IDS[1], "keep", "Anna"),
            ]  # fmt: skip
            with page.expect_response("**/decisions"):
                page.keyboard.press("z")
            assert [row.id for row in read_corrections(table).rows] == [IDS[0]]
        with opened(browser, url) as page:  # Another browser continues with what the file holds.
            page.wait_for_selector("#review:not([hidden])")
            assert shown(page) == IDS[1]
            assert "1 of 4" in page.locator("#count").inner_text()


def test_a_token_and_a_table_that_cannot_be_written(browser: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct-horse-battery")
    with served(run, "--token-file", str(tmp_path / "token")) as url, opened(browser, url) as page:
        page.get_by_label("token").fill("correct-horse-battery")
        page.keyboard.press("Enter")
        page.wait_for_selector("#review:not([hidden])")
        (run / "labels" / "corrections.csv").mkdir()
        with page.expect_response("**/decisions"):
            page.keyboard.press("k")
        page.get_by_role("alert").get_by_text("Not saved yet: 1").wait_for()
        (run / "labels" / "corrections.csv").rmdir()
        with page.expect_response("**/decisions"):  # What was not saved is still there, and is sent again.
            page.reload()
        assert page.locator("#alert").is_hidden()
        with page.expect_response("**/decisions"):
            page.keyboard.press("x")
    assert [row.new_label for row in read_corrections(run / "labels" / "corrections.csv").rows] == ["keep", "exclude"]


def test_labels_of_new_pages_are_a_table_of_labels(browser: Any, tmp_path: Path) -> None:
    file, table = tmp_path / "review.html", tmp_path / "pool_labels.csv"
    write_review(ReviewOptions(run=make_run(tmp_path, pool=True), pool=True), file)
    with opened(browser, file.as_uri()) as page:
        page.wait_for_selector("#review:not([hidden])")
        assert page.locator("[data-do=keep]").is_hidden()
        for key in "l2xu":
            page.keyboard.press(key)
        assert page.locator("#bar").evaluate("bar => bar.value") == 4
        with page.expect_download() as download:
            page.keyboard.press("d")
        assert download.value.suggested_filename == table.name
        download.value.save_as(table)
    rows = parse_table(table.read_text(), table, None).rows
    assert [(row.path.removeprefix("./"), row.label) for row in rows] == [(IDS[0], "4"), (IDS[1], "2")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, run: Path, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "review.html"
    write_review(ReviewOptions(run=run), file)
    with opened(browser, file.as_uri(), viewport=PHONE, color_scheme=scheme, has_touch=True) as page:
        page.wait_for_selector("#review:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        boxes = [button.bounding_box() for button in page.locator("#actions button:visible").all()]
        assert all(box and box["height"] >= 44 and box["y"] + box["height"] <= PHONE["height"] for box in boxes)
        page.get_by_role("button", name="Relabel").tap()
        page.get_by_role("option", name="letter").tap()
        assert shown(page) == IDS[1]


def test_pages_come_from_the_shards_where_their_files_are_gone(tmp_path: Path) -> None:
    config = make_shards(tmp_path / "shards")
    run = make_run(tmp_path / "made")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(re.sub(r"folder: \S*/shards\b", f"folder: {config.paths.shards}", text))
    ids = ShardSet.open(config.paths.shards / "train" / "holistic").page_ids(range(2))
    summary = read_ranking(run / "labels").summary
    write_ranking(run / "labels", summary, [ranked(rank, page_id) for rank, page_id in enumerate(ids, 1)])
    review = open_review(ReviewOptions(run=run))
    assert [
        (page["small"], decode(base64.b64decode(page["picture"].partition(",")[2])).shape)
        for page in review.data["pages"]
    ] == [(True, (32, 32))] * 2
    assert review.missing == 0
