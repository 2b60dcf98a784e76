"""Label files: what is accepted, what is counted, and what is refused."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.labels.label import Notes
from data_tools.labels.label_file import parse_lines
from data_tools.labels.text import read_text

FILE = Path("l.txt")


def parsed(text: str) -> tuple[list[tuple[str, str]], dict[str, int]]:
    notes = Notes()
    rows = parse_lines(text, FILE, notes)
    return [(row.path, row.label) for row in rows], dict(notes.counts)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("a/b.tif 3", ("a/b.tif", "3")),
        ("with space.tif 2", ("with space.tif", "2")),
        ("a.tif -4", ("a.tif", "-4")),
        ("ä/ö.tif 7", ("ä/ö.tif", "7")),
        ("no_suffix 7", ("no_suffix", "7")),
        ("a.tif news article", ("a.tif", "news article")),
        ("a b.TIF form 1", ("a b.TIF", "form 1")),
        ("a, b.tif 1", ("a, b.tif", "1")),
        ("a.pdf: b.tif, c.tif 1", ("a.pdf: b.tif, c.tif", "1")),
        ("copy of a.tif b.tif memo", ("copy of a.tif b.tif", "memo")),
        ("a.pdf#page=3 memo", ("a.pdf#page=3", "memo")),
        ('"a b.tif" 3', ('"a b.tif"', "3")),
        ('"a b.tif" "news article"', ('"a b.tif"', "news article")),
    ],
)
def test_plain_lines(line: str, row: tuple[str, str]) -> None:
    assert parsed(line) == ([row], {})


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("a.tif   3", ("a.tif", "3")),
        ("a.tif\t3", ("a.tif", "3")),
        ("a b.tif \t 3", ("a b.tif", "3")),
        ("a.tif\tnews article", ("a.tif", "news article")),
        ("folder x\tform 1", ("folder x", "form 1")),
        ("a.tif  memo", ("a.tif", "memo")),
        ("a.tif 3  ", ("a.tif", "3")),
        ("\ta.tif 3", ("a.tif", "3")),
        ("a.tif\u00a03", ("a.tif", "3")),
    ],
)
def test_unusual_blanks_are_counted(line: str, row: tuple[str, str]) -> None:
    assert parsed(line) == ([row], {"blanks": 1})


def test_blank_lines_and_a_header_are_skipped() -> None:
    assert parsed("filename label\n\na.tif memo\n   \nb.tif form\n") == (
        [("a.tif", "memo"), ("b.tif", "form")],
        {"header": 1},
    )
    assert parsed("a.tif memo\nfilename label\nb.tif form\nfilename label\n") == (
        [("a.tif", "memo"), ("b.tif", "form")],
        {"header": 2},
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "l.txt: .*empty"),
        ("\n \n", "l.txt: .*empty"),
        ("a.tif 0\nb.tif\n", "l.txt:2: expected .* found 'b.tif'"),
        (" 4\n", "l.txt:1: expected"),
        ("a.tif,3\n", "l.txt:1: expected .*path,label"),
        ("\t4\n", "l.txt:1: expected"),
        ("a.tif 0\nb.tif, 1\n", "l.txt:2: expected .*found 'b.tif, 1'.*path,label"),
        ("a.tif: 0\n", "l.txt:1: expected .*'a.tif: 0'; .*blank"),
        ("a.tif; memo of May\n", "l.txt:1: expected .*path,label"),
        ("a.tif ,0\n", "l.txt:1: expected"),
        ("a.tif | memo\n", "l.txt:1: expected"),
        ("a.pdf#page=2, memo\n", "l.txt:1: expected"),
        ('"a b.tif", 0\n', "l.txt:1: expected"),
        ("a.tif,\t0\n", "l.txt:1: expected"),
        ("no_suffix, 0\n", "l.txt:1: expected"),
    ],
)
def test_bad_lines_are_named(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parsed(text)


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (b"a.tif 0\nb.tif 1\n", {}),
        (b"a.tif 0\r\nb.tif 1\r\n", {"line_ends": 2}),
        (b"a.tif 0\rb.tif 1\r", {"line_ends": 2}),
        (b"\xef\xbb\xbfa.tif 0\nb.tif 1\n", {"encoding": 1}),
        ("a.tif 0\nb.tif 1\n".encode("utf-16"), {"encoding": 1}),
        ("\ufeffa.tif 0\nb.tif 1\n".encode("utf-16-be"), {"encoding": 1}),
        ("a.tif 0\nb.tif 1\n".encode("utf-32"), {"encoding": 1}),
        (b"\xef\xbb\xbf\xef\xbb\xbfa.tif 0\nb.tif 1\n", {"encoding": 2}),
        (b"a.tif 0\r\n\xef\xbb\xbfb.tif 1\r\n", {"encoding": 1, "line_ends": 2}),
        ("\ufeffa.tif 0\n\ufeffb.tif 1\n\ufeff".encode("utf-16-le"), {"encoding": 3}),
    ],
)
def test_encodings_and_line_ends(tmp_path: Path, content: bytes, counts: dict[str, int]) -> None:
    (tmp_path / "l.txt").write_bytes(content)
    notes = Notes()
    assert read_text(tmp_path / "l.txt", what="label file", notes=notes).rstrip("\n") == "a.tif 0\nb.tif 1"
    assert notes.counts == counts


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe\x00", "UTF-16"),
        (b"a.tif 0\n\xe4.tif 1\n", r"l\.txt:2: .*UTF-8"),
        ("path,label\n".encode("utf-16-le"), "UTF-16 text without"),
        (b"PK\x03\x04" + bytes(40), "CSV"),
    ],
)
def test_what_is_not_text_is_named_with_its_line(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(UserError, match=problem):
        read_text(tmp_path / "l.txt", what="label file")


def test_a_byte_order_mark_within_a_line_is_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("d/\ufeffa.tif 0\n")
    notes = Notes()
    assert read_text(tmp_path / "l.txt", what="label file", notes=notes) == "d/\ufeffa.tif 0\n"
    assert not notes.counts


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b"path,label\na.tif,1\n", mtime=0), "gzip.*unpack"),
        (bz2.compress(b"path,label\na.tif,1\n"), "bzip2.*unpack"),
        (lzma.compress(b"path,label\na.tif,1\n"), "xz.*unpack"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "Zstandard.*unpack"),
        (b"PAR1\x15\x04\x15\x00PAR1", "Parquet.*CSV"),
        (b"ARROW1\0\0\x10", "Arrow.*CSV"),
        (b"SQLite format 3\0\x10", "SQLite.*CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0", "PNG image.*text file"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG image.*text file"),
        (b"II*\0\x08\0\0\0", "TIFF image.*text file"),
        (b"%PDF-1.7\n\xe2\xe3\0", "PDF.*text file"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"l\.csv: the label file cannot be read: .*{problem}"):
        read_text(tmp_path / "l.csv", what="label file")


@pytest.mark.parametrize("text", ["PAR1/a.tif 3\n", "BZh9/a.tif 3\n", "%PDF-files/a.pdf 3\n", "ARROW1 3\n"])
def test_paths_that_begin_like_other_formats_are_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    assert read_text(tmp_path / "l.txt", what="label file") == text


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such label file"):
        read_text(tmp_path / "none.txt", what="label file")
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path, what="label file")
