"""Documents: pages of TIFF files and PDFs, damaged pages among intact ones, page ids."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from data_tools.documents.document import Document, document_pages, open_document
from data_tools.documents.formats import pdfium
from data_tools.documents.page_path import document_of, join_page_id, page_path, split_page_id
from data_tools.documents.pages import page_limit
from data_tools.documents.pixels import PageError, read_page
from data_tools.errors import UserError
from tests.helpers import hand_pdf
from tests.helpers.hand_tiff import SUBFILE_TYPE, TiffPage, gray_page, tiff
from tests.helpers.synthetic_pages import page

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

PAGES = [page(number) for number in range(4)]


@pytest.mark.parametrize("layout", [{}, {"big": True}, {"big_endian": True}, {"big_endian": True, "big": True}])
def test_all_pages_of_a_tiff(tmp_path: Path, layout: dict[str, bool]) -> None:
    (tmp_path / "d.tif").write_bytes(tiff([gray_page(image) for image in PAGES], **layout))
    found = list(document_pages(tmp_path / "d.tif", pages="all"))
    assert [(page.number, page.of) for page in found] == [(number, 4) for number in (1, 2, 3, 4)]
    for image, one in zip(PAGES, found, strict=True):
        assert one.pixels is not None
        assert np.array_equal(one.pixels, image)
    assert [page.number for page in document_pages(tmp_path / "d.tif", pages=3)] == [1, 2, 3]
    assert [page.of for page in document_pages(tmp_path / "d.tif")] == [4]
    in_color = read_page(tmp_path / "d.tif", color=True, number=3)
    assert np.array_equal(in_color, np.repeat(PAGES[2][:, :, None], 3, axis=2))


def test_pages_in_any_order() -> None:
    with Document(tiff([gray_page(image) for image in PAGES])) as document:
        for number in (3, 1, 4, 1, 2):
            assert np.array_equal(document.read(number), PAGES[number - 1])
        for number in (0, 5, -1):
            with pytest.raises(PageError, match="4 pages"):
                document.read(number)


def test_thumbnails_and_masks_are_no_pages() -> None:
    small = page(9, height=12, width=9)
    marked = [gray_page(small, t254=1), gray_page(PAGES[0]), gray_page(small, t254=4), gray_page(PAGES[1], t254=2)]
    with Document(tiff(marked)) as document:
        assert document.pages == 2
        assert np.array_equal(document.read(1), PAGES[0])
        assert np.array_equal(document.read(2), PAGES[1])
    with Document(tiff([gray_page(small, t254=1), gray_page(PAGES[0])])) as document:
        assert document.pages == 1
        assert np.array_equal(document.read(1), PAGES[0])
    # TIFF 5.0 has another tag for it.
    with Document(tiff([gray_page(PAGES[0], t255=1), gray_page(small, t255=2)])) as document:
        assert document.pages == 1
    assert SUBFILE_TYPE == 254
    with Document(tiff([gray_page(image, t254=1) for image in PAGES])) as document:
        assert document.pages == 4


def test_a_damaged_page_is_rejected_alone(tmp_path: Path) -> None:
    cut = TiffPage(60, 80, [b"\x80" * 50], gray_page(PAGES[0]).tags)
    (tmp_path / "d.tif").write_bytes(tiff([gray_page(PAGES[0]), gray_page(PAGES[1]), cut, gray_page(PAGES[3])]))
    found = list(document_pages(tmp_path / "d.tif", pages="all"))
    assert [one.error is None for one in found] == [True, True, False, True]
    (tmp_path / "d.pdf").write_bytes(hand_pdf.damaged_page(4, 3))
    found = list(document_pages(tmp_path / "d.pdf", pages="all"))
    assert [one.error is None for one in found] == [True, True, False, True]
    assert "page 3" in str(found[2].error)


def test_a_truncated_tiff_keeps_the_pages_before_the_cut() -> None:
    content = tiff([gray_page(image) for image in PAGES])
    third = content.index(PAGES[2].tobytes())
    with Document(content[: third + 100]) as document:
        assert document.pages == 3
        assert np.array_equal(document.read(2), PAGES[1])
        with pytest.raises(PageError, match="truncated"):
            document.read(3)


def test_a_chain_of_directories_that_loops_ends() -> None:
    content = bytearray(tiff([gray_page(PAGES[0]), gray_page(PAGES[1])]))
    first = int.from_bytes(content[4:8], "little")
    content[-4:] = first.to_bytes(4, "little")
    with Document(bytes(content)) as document:
        assert document.pages == 2


def test_pages_of_a_pdf(tmp_path: Path) -> None:
    (tmp_path / "d.pdf").write_bytes(hand_pdf.document(3))
    found = list(document_pages(tmp_path / "d.pdf", pages="all", dpi=100))
    shapes = [one.pixels.shape for one in found if one.pixels is not None]
    assert shapes == [(300, 200)] * 3
    # Page k has k bars of 6 points.
    rows = [one.pixels[200] for one in found if one.pixels is not None]
    bars = [int((np.diff((row < 128).astype(int)) == 1).sum()) for row in rows]
    assert bars == [1, 2, 3]
    assert read_page(tmp_path / "d.pdf", color=True, number=2).shape == (600, 400, 3)


def test_a_pdf_is_seen_as_a_viewer_shows_it() -> None:
    def shown(content: bytes) -> np.ndarray:
        with Document(content, dpi=72) as document:
            return document.read(1)

    # A field's value is ink; a rotated page lies on its side; a script does not run.
    form = shown(hand_pdf.filled_form())
    assert form[180, 60] < 50
    assert form[100, 60] > 250
    assert shown(hand_pdf.drawn([hand_pdf.bars(1)], more=b"/Rotate 90")).shape == (144, 216)
    assert np.array_equal(shown(hand_pdf.with_javascript()), shown(hand_pdf.document(1)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hand_pdf.encrypted(), "encrypted"),
        (hand_pdf.no_pages(), "no page"),
        (hand_pdf.xfa_form(), "XFA form"),
        (hand_pdf.document(3)[:400], "truncated or damaged"),
        (b"%PDF-1.4", "truncated or damaged"),
        (hand_pdf.page_tree_loop(), "damaged"),
        (hand_pdf.drawn([b""], box=b"0 0 200000 200000"), "555556 x 555556 pixels at 200 dpi"),
    ],
)
def test_pdfs_that_are_rejected(tmp_path: Path, content: bytes, reason: str) -> None:
    # Another PDF's error must not become this one's.
    for other in (hand_pdf.encrypted(), content):
        (tmp_path / "d.pdf").write_bytes(other)
        found = list(document_pages(tmp_path / "d.pdf"))
    assert reason in str(found[0].error)


def test_a_pdf_that_claims_many_pages_has_those_that_exist() -> None:
    with Document(hand_pdf.many_claimed(5_000_000)) as document:
        assert document.pages == 1


def test_without_pypdfium2_a_pdf_is_rejected_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pypdfium2" else find_spec(name))
    (tmp_path / "d.pdf").write_bytes(hand_pdf.document(1))
    with pytest.raises(PageError, match=r"pip install 'regionstack\[pdf\]'"):
        open_document(tmp_path / "d.pdf")
    with pytest.raises(UserError, match=r"data\.train: d\.pdf: is a PDF"):
        pdfium.require("data.train: d.pdf")
    assert pdfium.version() is None


def test_page_limits() -> None:
    assert [page_limit(pages) for pages in ("first", 1, 7, "all", 10**9)] == [1, 1, 7, 10_000, 10_000]


@pytest.mark.parametrize(
    ("path", "number", "several", "page_id"),
    [
        ("a.tif", 1, False, "a.tif"),
        ("a.tif", 1, True, "a.tif#page=1"),
        ("a.tif", 3, True, "a.tif#page=3"),
        ("a.tif", 3, False, "a.tif#page=3"),
        # A file's own name may look like the name of a page.
        ("a.tif#page=3", 1, False, "a.tif#page=3#page=1"),
        ("a.tif#page=3", 2, True, "a.tif#page=3#page=2"),
        ("a#page=3.tif", 1, False, "a#page=3.tif"),
        ("a.tif#page=0", 1, False, "a.tif#page=0"),
        ("a.tif#page=", 1, False, "a.tif#page="),
        ("a.tif#page=03", 1, False, "a.tif#page=03"),
    ],
)
def test_page_ids(path: str, number: int, several: bool, page_id: str) -> None:
    assert join_page_id(path, number, several=several) == page_id
    assert split_page_id(page_id) == (path, number)
    assert document_of(page_id) == path


def test_the_file_of_a_page(tmp_path: Path) -> None:
    assert page_path(str(tmp_path), "x/a.pdf#page=12", outside_links="refuse") == tmp_path / "x" / "a.pdf"
