"""Text for an output: a substitute for characters that its encoding lacks or that are not printable, never an error."""

import codecs
import os
import sys
import unicodedata
from typing import TextIO

ERRORS = "regionstack-plain"
"""Name of the codec error handler; `substitute` says what it does."""

_PLAIN = {
    "–": "-", "—": "-", "−": "-", "‑": "-", "…": "...", "→": "->", "←": "<-", "×": "x", "±": "+-", "≤": "<=", "≥": ">=",
    "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "·": ".", "•": "*", "✓": "ok", "✔": "ok", "✗": "x", "✘": "x",
    "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "€": "EUR", "°": "deg", "µ": "u",
}  # fmt: skip
_DRAWN = {"━": "-", "─": "-", "│": "|", "┃": "|", "╸": "-", "╺": "-", "█": "#"}
"""Lines of rich's tables and progress bars; its other box characters become `+`."""
_BOXES = range(0x2500, 0x2580)
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, bytes that are not UTF-8, and separators of lines and paragraphs."""
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain_output() -> None:
    """Let stdout and stderr print every text; a stream that the caller has closed becomes the null device."""
    codecs.register_error(ERRORS, _handle)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _null(number))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def substitute(character: str) -> str:
    """What stands for a character that an encoding lacks, in ASCII, which all encodings of terminals contain.

    A similar one for punctuation and lines, letters without their accents, `\\xff` for a byte of a file name that is
    not text, and `?` for all others.
    """
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if found := _PLAIN.get(character) or _DRAWN.get(character):
        return found
    if ord(character) in _BOXES:
        return "+"
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part for part in parts if part.isascii()) or "?"


def is_printable(text: str) -> bool:
    r"""Whether a name can stand in a line of a file and of a terminal, and is read there as it is.

    Blanks of all widths, joiners (in Persian, Hindi and emoji), private characters (for `:` on SMB volumes) and
    characters newer than Python's tables are text. Overrides and isolates of the writing direction are not: they
    reorder what follows on the line, so that `a\u202efdp.tif` is shown as `afit.pdf`.
    """
    return text.isprintable() or not any(map(_unprintable, text))


def printable(text: str) -> str:
    r"""`text` as one line of valid UTF-8; what is not printable is written as `\n`, `\x1b`, `\u202e`, `\xff`."""
    return "".join(_escaped(character) if _unprintable(character) else character for character in text)


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE or character in _REORDERING


def _escaped(character: str) -> str:
    # Python stands for a byte of a file name that is not UTF-8 with one of these.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(substitute(character) for character in missing), error.end


def _null(descriptor: int) -> TextIO:
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != descriptor:
        # No later file may get the number of a standard stream: what libraries print would end in it.
        os.dup2(opened, descriptor)
        os.close(opened)
    return os.fdopen(descriptor, "w", errors=ERRORS, closefd=False)
