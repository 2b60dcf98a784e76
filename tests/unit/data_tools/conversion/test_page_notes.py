"""What a conversion reports of pages that it keeps."""

from pathlib import Path

from data_tools.conversion.page_notes import (
    PAGE_NOTES,
    Kind,
    PageNote,
    read_page_notes,
    summary_lines,
    write_page_notes,
)


def note(page: str, kind: Kind, *, split: str = "train", count: int = 1, detail: str = "") -> PageNote:
    return {"split": split, "page": page, "label": 0, "kind": kind, "count": count, "detail": detail}


def test_the_summary_counts_and_names_the_first_five() -> None:
    notes = [note(f"{number}.png", "black") for number in range(8)]
    notes += [note("white.pdf", "blank", detail="draws 3 objects"), note("b.png", "blank")]
    notes += [note("d.pdf", "left_out", count=9, detail="10 pages"), note("e.tif#page=2", "left_out", count=1)]
    black, blank, doubtful, left_out = summary_lines(notes, pages="2")
    assert black.startswith("8 ") and "4.png" in black and "5.png" not in black and "3 more" in black
    assert blank.startswith("2 ") and "b.png" in blank
    assert doubtful.startswith("1 ") and "white.pdf (draws 3 objects)" in doubtful
    assert left_out.startswith("10 ") and "d.pdf" in left_out and "e.tif " in left_out and "data.pages: 2" in left_out
    assert summary_lines([], pages="first") == []


def test_notes_of_splits_that_are_not_converted_now_are_kept(tmp_path: Path) -> None:
    assert read_page_notes(tmp_path) == []
    old = [note("a.png", "black"), note("b.png", "blank", split="test")]
    write_page_notes(tmp_path, old, splits=["train", "val", "test"])
    write_page_notes(tmp_path, [note("c.png", "black")], splits=["train"])
    assert [line["page"] for line in read_page_notes(tmp_path)] == ["c.png", "b.png"]
    before = (tmp_path / PAGE_NOTES).read_bytes()
    write_page_notes(tmp_path, reversed([note("c.png", "black")]), splits=["train"])
    assert (tmp_path / PAGE_NOTES).read_bytes() == before
