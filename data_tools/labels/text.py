"""Text files as editors and spreadsheets save them: UTF-8 or UTF-16, with any line ends."""

import codecs
import re
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
_FORMATS = (
    (b"PK\x03\x04", "a workbook or archive", "save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook or archive", "save the sheet as CSV"),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (b"BZh", "a bzip2 file", "unpack it"),
    (b"\xfd7zXZ", "an xz file", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it"),
    (b"PAR1", "a Parquet file", "save the table as CSV"),
    (b"ARROW1", "an Arrow file", "save the table as CSV"),
    (b"SQLite format 3", "an SQLite database", "save the table as CSV"),
    (b"\x89PNG", "a PNG image", "give a text file or a folder"),
    (b"\xff\xd8\xff", "a JPEG image", "give a text file or a folder"),
    (b"II*\0", "a TIFF image", "give a text file or a folder"),
    (b"MM\0*", "a TIFF image", "give a text file or a folder"),
    (b"%PDF-", "a PDF document", "give a text file or a folder"),
)
"""First bytes of files that are no text, what they are, and what to do."""
_MARKED = re.compile("^\ufeff+", re.MULTILINE)


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
    return _without_marks(_with_plain_line_ends(text, notes), notes)


def _refuse_other_formats(content: bytes, path: Path, what: str) -> None:
    for mark, kind, advice in _FORMATS:
        # A text may begin with letters of a mark, but holds no zero bytes.
        if content.startswith(mark) and (b"\0" in content or not mark.isascii()):
            raise UserError(f"{path}: the {what} cannot be read: {kind} and no text; {advice}")
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


def _without_marks(text: str, notes: Notes) -> str:
    """`text` without the byte order marks that joined files bring to the beginning of lines."""
    first = _MARKED.search(text)
    if first is None:
        return text
    plain, count = _MARKED.subn("", text)
    notes.counts["encoding"] += count
    line = text.count("\n", 0, first.start()) + 1
    notes.first.setdefault("encoding", f"a byte order mark within the file, line {line}")
    return plain
