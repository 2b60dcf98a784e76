"""Text files as editors and spreadsheets save them: UTF-8 or UTF-16, with any line ends."""

import codecs
import unicodedata
from pathlib import Path

from data_tools.errors import UserError
from data_tools.labels.label import Notes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
"""Byte order marks; the one of UTF-32 begins like the one of UTF-16 and must be tried first."""

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, bytes that are not UTF-8, and separators of lines and paragraphs."""
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_printable(text: str) -> bool:
    r"""Whether a name can stand in a line of a file and of a terminal, and is read there as it is.

    Blanks of all widths, joiners (in Persian, Hindi and emoji), private characters (for `:` on SMB volumes) and
    characters newer than Python's tables are text. Overrides and isolates of the writing direction are not: they
    reorder what follows on the line, so that `a\u202efdp.tif` is shown as `afit.pdf`.
    """
    return text.isprintable() or not any(
        unicodedata.category(character) in _UNPRINTABLE or character in _REORDERING for character in text
    )


def read_text(path: Path, *, what: str, notes: Notes | None = None) -> str:
    r"""The text of `path` with `\n` as line ends; `what` names the kind of file in errors.

    Raises:
        UserError: the file is missing, cannot be read, or is not UTF-8, UTF-16 or UTF-32 text.
    """
    notes = notes if notes is not None else Notes()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}") from None
    except OSError as error:
        raise UserError(f"{path}: the {what} cannot be read ({error.strerror})") from None
    _refuse_other_formats(content, path, what)
    encoding = "utf-8"
    for mark, name, title in _MARKS:
        if content.startswith(mark):
            encoding = name
            notes.add(["encoding"], title)
            break
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: the {what} cannot be read: not {encoding.upper().removesuffix('-SIG')} text "
            f"({error.reason}); save it as UTF-8"
        ) from None
    return _with_plain_line_ends(text, notes)


def _refuse_other_formats(content: bytes, path: Path, what: str) -> None:
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path}: the {what} cannot be read: a workbook or archive and no text; save the sheet as CSV")
    head = content[:256]
    if len(head) > 8 and (not any(head[::2]) or not any(head[1::2])):
        raise UserError(f"{path}: the {what} cannot be read: UTF-16 text without a byte order mark; save it as UTF-8")


def _with_plain_line_ends(text: str, notes: Notes) -> str:
    if "\r" not in text:
        return text
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    notes.counts["line_ends"] += plain.count("\n")
    notes.first.setdefault("line_ends", "CR LF" if "\r\n" in text else "CR")
    return plain
