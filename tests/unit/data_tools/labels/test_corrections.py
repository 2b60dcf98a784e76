"""Corrections: what a file may say, and what it does to labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.errors import UserError
from data_tools.labels.corrections import Correction, corrected, read_corrections, write_corrections

IDS, NAMES = (0, 2, 6), ("letter", "email", "keep")
PLACES = {"a.tif": 0, "b,b.tif": 1, "c.tif": 2}
LABELS = np.array([0, 1, 2], np.int32)


def _file(folder: Path, *rows: str, header: str = "id,split,label,new_label") -> Path:
    path = folder / "corrections.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def _apply(path: Path) -> tuple[list[int], list[bool], dict[str, int]]:
    done = corrected(read_corrections(path), PLACES, LABELS, class_ids=IDS, class_names=NAMES)
    return done.labels.tolist(), done.kept.tolist(), dict(done.counts)


@pytest.mark.parametrize(
    ("rows", "labels", "kept", "counts"),
    [
        ([], [0, 1, 2], [True] * 3, {}),
        (["a.tif,train,0,2"], [1, 1, 2], [True] * 3, {"relabel": 1}),
        (["a.tif,train,letter,email"], [1, 1, 2], [True] * 3, {"relabel": 1}),
        (['"b,b.tif",train,2,exclude'], [0, 1, 2], [True, False, True], {"exclude": 1}),
        (["a.tif,train,0,0", "c.tif,train,6,0"], [0, 1, 0], [True] * 3, {"keep": 1, "relabel": 1}),
        (["a.tif,train,0,2", "a.tif,train,letter,email", ""], [1, 1, 2], [True] * 3, {"relabel": 1}),
    ],
)
def test_rows_change_labels(
    tmp_path: Path, rows: list[str], labels: list[int], kept: list[bool], counts: dict[str, int]
) -> None:
    assert _apply(_file(tmp_path, *rows)) == (labels, kept, counts)


def test_original_labels_are_not_touched(tmp_path: Path) -> None:
    before = LABELS.copy()
    _apply(_file(tmp_path, "a.tif,train,0,2"))
    assert (before == LABELS).all()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_any_country(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "saved.csv"
    rows = [("id", "split", "label", "new_label", "note"), ("a.tif", "train", "0", "2", "seen twice")]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(delimiter.join(row) for row in rows).encode())
    assert _apply(path)[0] == [1, 1, 2]


def test_written_rows_are_read_back(tmp_path: Path) -> None:
    rows = (
        Correction(id="b,b.tif", split="train", label="2", new_label="exclude", by="anna", time="now", run="runs/1"),
        Correction(id='quote".tif', split="test", label="0", new_label="6"),
    )
    write_corrections(tmp_path / "new.csv", rows)
    assert read_corrections(tmp_path / "new.csv").rows == rows
    assert read_corrections(tmp_path / "new.csv").of_split("test").rows == rows[1:]
    assert read_corrections(tmp_path / "new.csv").of_split("test").lines == (3,)


@pytest.mark.parametrize(
    ("rows", "line", "named"),
    [
        (["a.tif,train,0,2", "other.tif,train,0,2"], 3, "other.tif"),
        (["a.tif,train,2,0"], 2, "a.tif"),
        (["a.tif,train,0,9"], 2, "9"),
        (["a.tif,train,9,0"], 2, "9"),
        (["a.tif,train,0,2", "c.tif,train,6,0", "a.tif,train,0,6"], 4, "line 2"),
        (["a.tif,train,0,2", "a.tif,train,0,exclude"], 3, "a.tif"),
        (["c.tif,train,6,keep"], 2, "keep"),
        (["a.tif,training,0,2"], 2, "training"),
        (["a.tif,train,0"], 2, "3 cells"),
        (["a.tif,train,0,"], 2, "new_label"),
        ([",train,0,2"], 2, "id"),
        (['a.tif,train,"0,2'], 2, "CSV"),
    ],
)
def test_a_row_that_cannot_be_applied_is_named(tmp_path: Path, rows: list[str], line: int, named: str) -> None:
    path = _file(tmp_path, *rows)
    with pytest.raises(UserError) as raised:
        _apply(path)
    assert f"{path}:{line}" in str(raised.value)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [b"", b"a.tif 0\n", b"id,split,label\n", b"id,id,split,label,new_label\n", b"\xff\xfei\x00d\x00"]
)
def test_a_file_that_is_no_table_of_corrections(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.csv"):
        read_corrections(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.csv"):
        read_corrections(tmp_path / "absent.csv")


WORDS = ["a.tif", "c.tif", "b,b.tif", "other", "train", "val", "0", "2", "6", "letter", "email", "keep", "exclude"]
MARKS = [",", ",", ",", ";", "\t", " ", '"', "\n", "\r\n", "\r", "\0", "\u2028", "\ufeff", "\u00e9"]
TEXTS = st.lists(st.sampled_from(WORDS + MARKS), max_size=40).map("".join)
ROWS = st.lists(st.lists(st.sampled_from(WORDS), min_size=4, max_size=4).map(",".join), max_size=5).map("\n".join)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    *(made.map(lambda text: f"id,split,label,new_label\n{text}".encode()) for made in (TEXTS, ROWS)),
)


@given(content=CONTENTS)
@settings(max_examples=300, deadline=None)
def test_any_content(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        labels, kept, counts = _apply(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(path) in str(error)
    else:
        assert set(labels) <= {0, 1, 2}
        assert sum(counts.values()) <= 3
        assert kept.count(False) == counts.get("exclude", 0)


def test_a_page_id_of_several_lines_is_shown_in_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        _apply(_file(tmp_path, '"a\nb.tif",train,0,2'))
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(UserError, match="cannot be read"):
        read_corrections(Path("a\0b.csv"))
