"""Every text can be printed: where an encoding lacks a character, a plain one stands for it."""

import io

import pytest

from data_tools.plain_text import ERRORS, plain_output


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_every_character_can_be_encoded(encoding: str) -> None:
    plain_output()
    for first in range(0, 0x11000, 0x400):
        "".join(map(chr, range(first, first + 0x400))).encode(encoding, ERRORS)


@pytest.mark.parametrize(
    ("text", "encoding", "printed"),
    [
        ("91.2% – 93.4%", "ascii", b"91.2% - 93.4%"),
        ("stack − holistic", "latin-1", b"stack - holistic"),
        ("Müller", "ascii", b"Muller"),
        ("Müller", "latin-1", b"M\xfcller"),
        ("page-\udcff.tif", "utf-8", b"page-\\xff.tif"),
        ("page-\udcff.tif", "ascii", b"page-\\xff.tif"),
        ("━━╸ ┏┓", "ascii", b"--- ++"),
        ("頁", "ascii", b"?"),
        ("頁 –", "utf-8", "頁 –".encode()),
        ("\ud800", "utf-8", b"?"),
    ],
)
def test_the_substitute_is_similar(text: str, encoding: str, printed: bytes) -> None:
    plain_output()
    assert text.encode(encoding, ERRORS) == printed


def test_a_stream_of_the_caller_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    plain_output()
    import sys

    sys.stdout.write("a – b\n")
    assert raw.getvalue() == b"a - b\n"
