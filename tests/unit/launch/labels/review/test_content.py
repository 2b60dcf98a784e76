"""The content of a review: pictures from where they can be read, bounded, escaped, and self-contained."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_tools.documents.pixels import decode
from data_tools.errors import UserError
from launch.labels.review.content import ReviewOptions, open_review
from launch.labels.review.page import review_page
from launch.labels.review.pictures import PageFiles, encoded
from launch.labels.review.server import write_review
from launch.service.security import page_policy
from tests.unit.launch.labels.review.ranked import IDS, make_run


def pixels(uri: str) -> np.ndarray:
    return decode(base64.b64decode(uri.partition(",")[2]))


def test_pages_have_pictures_and_absent_ones_are_counted(tmp_path: Path) -> None:
    review = open_review(ReviewOptions(run=make_run(tmp_path)))
    pages = review.data["pages"]
    assert [page["id"] for page in pages] == list(IDS)
    assert [page["picture"] is not None for page in pages] == [True, True, False, True]
    assert [pixels(pages[place]["picture"]).shape for place in (0, 3)] == [(120, 90), (90, 120)]
    assert review.missing == review.data["unreadable"] == 1
    assert list(review.data["thumbs"]) == ["a/b.png"]
    assert review.data["total"] == 1234


@pytest.mark.parametrize("most", [1, 3])
def test_the_number_of_pages_is_bounded(most: int, tmp_path: Path) -> None:
    review = open_review(ReviewOptions(run=make_run(tmp_path), most=most))
    assert len(review.data["pages"]) == len(review.sheet.pages) == most


def test_the_pages_that_were_looked_for_are_counted(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_review(ReviewOptions(run=make_run(tmp_path)), on_page=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_new_pages_are_read_from_their_own_folder(tmp_path: Path) -> None:
    review = open_review(ReviewOptions(run=make_run(tmp_path, pool=True), pool=True))
    assert review.data["kind"] == "pool"
    assert [page["label"] for page in review.data["pages"]] == [None] * 4
    assert review.data["unreadable"] == 1
    assert review.sheet.path.name == "pool_labels.csv"


def test_another_data_root(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (tmp_path / "pages").rename(tmp_path / "moved")
    assert open_review(ReviewOptions(run=run)).missing == 4
    assert open_review(ReviewOptions(run=run, data_root=tmp_path / "moved")).missing == 1


def test_pages_outside_the_data_root_are_not_read(tmp_path: Path) -> None:
    make_run(tmp_path / "made")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "made" / "pages" / "a" / "b.png")
    files = PageFiles(roots=[tmp_path / "root"], outside_links="refuse")
    for page_id in ("link.png", "../made/pages/a/b.png", str(tmp_path / "made" / "pages" / "a" / "b.png")):
        assert files.original(page_id) is None
    assert PageFiles(roots=[tmp_path / "made" / "pages"]).original("a/b.png") is not None


def test_pictures_are_bounded_in_size_and_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1600, 1200), dtype=np.uint8)
    assert pixels(encoded(noise, px=400, most_bytes=10**9)).shape == (400, 300)
    small = encoded(noise, px=400, most_bytes=20_000)
    assert pixels(small).shape[0] < 400
    assert len(base64.b64decode(small.partition(",")[2])) <= 20_000
    assert pixels(encoded(noise[:3, :2], px=400, most_bytes=10)).shape == (1, 1)


def test_the_page_is_self_contained_and_names_cannot_end_its_data(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert write_review(ReviewOptions(run=run), tmp_path / "review.html") == 0
    html = (tmp_path / "review.html").read_text()
    text = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert len(text) == 1
    data = json.loads(text[0])
    assert data["classes"][2]["name"] == "</script><b>memo"
    assert data["run"] == "runs/<my>"
    assert html.count("</script>") == 2
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", html.replace(text[0], ""))
    assert "default-src 'none'" in html
    assert "connect-src 'none'" in html


def test_the_policy_allows_the_script_and_style_of_the_page() -> None:
    html = review_page(None)
    header = page_policy(html)
    for word in re.findall(r"'sha256-[^']+'", header):
        assert word in html
    assert len(re.findall(r"'sha256-[^']+'", header)) == 2


def test_without_a_ranking(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "labels" / "summary.json").unlink()
    with pytest.raises(UserError, match="no ranking"):
        open_review(ReviewOptions(run=run))
    with pytest.raises(UserError, match="--most"):
        ReviewOptions(run=run, most=0)
