"""From documents to examples: ids, splits, caps and counts."""

from pathlib import Path

import pytest

from data_tools.documents import paged
from data_tools.documents.data_set import DataConfig, DataSet, capped
from data_tools.documents.page_counts import pages_in
from data_tools.documents.page_path import document_of
from data_tools.documents.pages import MAX_PAGES, Pages
from data_tools.documents.pixels import PageError
from data_tools.errors import UserError
from data_tools.labels.label import Label
from tests.helpers import hand_pdf
from tests.helpers.hand_tiff import gray_page, tiff
from tests.helpers.synthetic_pages import page, write_page

COUNTS = {"a.pdf": 3, "b.tif": 2, "odd#page=2": 2}


def data_set(**splits: list[tuple[str, int]]) -> DataSet:
    labels = {split: [Label(*label) for label in splits.get(split, [])] for split in ("train", "val", "test")}
    return DataSet(labels=labels, class_ids=(0, 1), class_names=("0", "1"), label_warnings=())


def listed_pages(found: DataSet, pages: Pages, *, on_disk: frozenset[str] = frozenset(), **more: int) -> DataSet:
    config = DataConfig(root="r", train="a", val="b", test="c", pages=pages, **more)  # type: ignore[arg-type]
    listed = paged.listed_documents(found, exists=on_disk.__contains__)
    # The first page alone needs no counts.
    counts = {} if pages in ("first", 1) else COUNTS
    return paged.with_pages(found, listed, config, counts=counts, seed=1)


LINES = [("a.pdf", 0), ("b.tif", 1), ("c.png", 0)]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ("first", ["a.pdf", "b.tif", "c.png"]),
        (1, ["a.pdf", "b.tif", "c.png"]),
        (2, ["a.pdf#page=1", "a.pdf#page=2", "b.tif#page=1", "b.tif#page=2", "c.png"]),
        ("all", ["a.pdf#page=1", "a.pdf#page=2", "a.pdf#page=3", "b.tif#page=1", "b.tif#page=2", "c.png"]),
    ],
)
def test_pages_become_labels(pages: Pages, expected: list[str]) -> None:
    found = listed_pages(data_set(train=LINES), pages)
    assert [label.page_id for label in found.labels["train"]] == expected
    classes = dict(LINES)
    assert all(class_id == classes[document_of(page_id)] for page_id, class_id in found.labels["train"])


def test_a_line_may_name_a_page() -> None:
    lines = [("a.pdf#page=2", 1), ("a.pdf#page=3", 0), ("c.png#page=1", 0)]
    for pages in ("first", "all"):
        found = listed_pages(data_set(train=lines), pages)
        ids = [label.page_id for label in found.labels["train"]]
        assert ids == ["a.pdf#page=2", "a.pdf#page=3", "c.png"]
    both = listed_pages(data_set(train=[("a.pdf", 0), ("a.pdf#page=2", 0)]), "all")
    assert len(both.labels["train"]) == 3
    with pytest.raises(UserError, match=r"a\.pdf#page=2 has two classes, 0 and 1"):
        listed_pages(data_set(train=[("a.pdf", 0), ("a.pdf#page=2", 1)]), "all")


def test_a_file_whose_name_ends_like_a_page() -> None:
    lines = [("odd#page=2", 0)]
    on_disk = frozenset({"odd#page=2"})
    first = listed_pages(data_set(train=lines), "first", on_disk=on_disk).labels["train"]
    assert [label.page_id for label in first] == ["odd#page=2#page=1"]
    every = listed_pages(data_set(train=lines), "all", on_disk=on_disk).labels["train"]
    assert [label.page_id for label in every] == ["odd#page=2#page=1", "odd#page=2#page=2"]


def test_pages_of_a_document_are_never_in_two_splits() -> None:
    with pytest.raises(UserError, match=r"data\.val: a\.pdf has other pages in train"):
        listed_pages(data_set(train=[("a.pdf#page=1", 0)], val=[("a.pdf#page=2", 0)]), "first")
    with pytest.raises(UserError, match="other pages"):
        listed_pages(data_set(train=[("a.pdf", 0)], test=[("a.pdf#page=2", 0)]), "all")


@pytest.mark.parametrize(
    ("train", "val", "pages"),
    [
        ("a.pdf", "a.pdf", "all"),
        ("a.pdf", "a.pdf", 2),
        ("a.pdf#page=2", "a.pdf#page=2", "first"),
        ("a.pdf", "a.pdf#page=1", "first"),  # One page of it, written in two ways.
        ("c.png#page=1", "c.png", "first"),
    ],
)
def test_a_document_is_in_one_split(train: str, val: str, pages: Pages) -> None:
    with pytest.raises(UserError, match=rf"data\.val: {train[:5]} has .* in train; list all pages .* in one split"):
        listed_pages(data_set(train=[(train, 0)], val=[(val, 0)]), pages)


def test_an_image_may_be_in_two_splits() -> None:
    lines = [("c.png", 0), ("odd#page=1", 1)]  # The second is a file of that name.
    found = listed_pages(data_set(train=lines, val=lines), "all", on_disk=frozenset({"odd#page=1"}))
    assert found.labels["train"] == found.labels["val"] == [("c.png", 0), ("odd#page=1#page=1", 1)]


@pytest.mark.parametrize("pages", ["first", "all"])
@pytest.mark.parametrize("name", ["d.tif", "d.pdf"])
def test_the_pages_of_a_document_in_two_splits_are_counted(tmp_path: Path, name: str, pages: Pages) -> None:
    (tmp_path / "d.tif").write_bytes(tiff([gray_page(page(number)) for number in range(3)]))
    (tmp_path / "d.pdf").write_bytes(hand_pdf.document(3))
    write_page(tmp_path / "one.png", page(1))
    for split, own in {"train": name, "val": name, "test": "t.png"}.items():
        (tmp_path / f"{split}.txt").write_text(f"{own} 0\none.png 0\n")
    config = DataConfig(str(tmp_path), *(str(tmp_path / f"{split}.txt") for split in paged.SPLITS), pages=pages)
    with pytest.raises(UserError, match=rf"data\.val: {name} has the same pages in train"):
        paged.read_paged_data_set(config, seed=1, workers=1)
    for split in paged.SPLITS:
        (tmp_path / f"{split}.txt").write_text("one.png 0\n")
    found = paged.read_paged_data_set(config, seed=1, workers=1)
    assert [warning.kind for warning in found.data_set.label_warnings] == ["in_two_splits"] * 2
    assert found.counts == {}


def test_the_cap_counts_pages_and_keeps_documents_together() -> None:
    lines = [(f"{number}.pdf#page={page}", 0) for number in range(20) for page in (1, 2, 3)]
    kept = capped([Label(*line) for line in lines], 10, seed=1)
    assert len(kept) == 10
    documents = [document_of(label.page_id) for label in kept]
    assert sorted(documents.count(document) for document in set(documents)) == [1, 3, 3, 3]
    assert set(kept) < set(capped([Label(*line) for line in lines], 20, seed=1))
    found = listed_pages(data_set(train=[("a.pdf", 0), ("c.png", 1)]), "all", max_per_class=2)
    assert [label.page_id for label in found.labels["train"]] == ["a.pdf#page=1", "a.pdf#page=2", "c.png"]


def test_a_document_of_very_many_pages_is_bounded() -> None:
    config = DataConfig(root="r", train="a", val="b", test="c", pages="all")
    found = data_set(train=[("a.pdf", 0)])
    listed = paged.listed_documents(found, exists=lambda path: False)
    labels = paged.with_pages(found, listed, config, counts={"a.pdf": 2_000_000}, seed=1).labels["train"]
    assert len(labels) == MAX_PAGES


def test_pages_are_counted_without_a_decoder(tmp_path: Path) -> None:
    (tmp_path / "d.tif").write_bytes(tiff([gray_page(page(number)) for number in range(5)]))
    (tmp_path / "d.dat").write_bytes(hand_pdf.document(4))
    write_page(tmp_path / "d.png", page(1))
    (tmp_path / "text").write_text("no page")
    (tmp_path / "bad.pdf").write_bytes(hand_pdf.encrypted())
    (tmp_path / "broken.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    names = ("d.tif", "d.dat", "d.png", "text", "broken.tif")
    assert [pages_in(tmp_path / name) for name in names] == [5, 4, 1, 1, 1]
    for name in ("bad.pdf", "none.pdf"):
        with pytest.raises(PageError):
            pages_in(tmp_path / name)


def test_a_pdf_without_its_reader_is_an_error_before_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged.pdfium, "installed", lambda: False)
    paged.require_pdf_reader(data_set(train=[("c.png", 0)]))
    with pytest.raises(UserError, match=r"data\.val: x/A\.PDF: is a PDF"):
        paged.require_pdf_reader(data_set(train=[("c.png", 0)], val=[("x/A.PDF", 0)]))


@pytest.mark.parametrize("pages", [0, -1])
def test_settings_are_checked(pages: int) -> None:
    with pytest.raises(UserError, match="pages"):
        DataConfig(root="r", train="a", val="b", test="c", pages=pages)
    with pytest.raises(UserError, match="pdf_dpi"):
        DataConfig(root="r", train="a", val="b", test="c", pdf_dpi=pages)
