"""How far an interrupted `predict` came, from the files that it left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from data_tools.errors import UserError
from data_tools.plain_text import printable
from data_tools.targets import target_of
from launch.predict.forms import Counts, Key
from launch.predict.line_file import LineFile
from launch.predict.sources import Source
from trainer.serving.answer import source_cell


@dataclass
class Position:
    """The complete groups in the files of an earlier command, and their answers, each of which takes a row."""

    groups: int = 0
    counts: Counts = field(default_factory=Counts)


def resume(files: Sequence[LineFile], groups: Sequence[Sequence[Source]]) -> Position:
    """Set `files` to continue after the last group that all of them hold; where that is.

    Raises:
        UserError: the files are of other sources, or of another command; none of them names its sources.
    """
    if not files:
        raise UserError("--resume: continues a file; give --csv, --jsonl or --json, as before")
    for file in files:
        if not target_of(file.path).replaceable:
            raise UserError(f"--resume: {file.path} is not a regular file, and nothing can be read back from it")
    held = [(file, sum(1 for _ in file.held())) for file in files]
    named = next((file for file, _ in held if file.form.names_sources), None)
    if named is None:
        raise UserError("--resume: an HTML page does not name all of its pages; give --csv, --jsonl or --json as well")
    rows = min(count for _, count in held)
    position = _position(named, groups, rows)
    for file, _ in held:
        file.resume(position.counts)
    return position


def _position(file: LineFile, groups: Sequence[Sequence[Source]], rows: int) -> Position:
    """The complete groups among the first `rows` lines of `file`."""
    keys = _Ahead(key for key, _ in zip(file.held(), range(rows), strict=False) if key is not None)
    position, counts, taken = Position(), Counts(), 0
    for number, group in enumerate(groups, start=1):
        for source in group:
            own = _rows_of(source, keys, file, row=taken)
            if not own:
                return position
            taken += len(own)
            for key in own:
                counts.add(rejected=key.rejected, decision=key.decision)
        position = Position(number, counts.plus([]))
    if keys.peek() is not None:
        raise UserError(f"{file.path}: holds answers about other files than those given; give the same sources")
    return position


def _rows_of(source: Source, keys: "_Ahead", file: LineFile, *, row: int) -> list[Key]:
    """The lines about one source: its pages from the first on, then that about the document, if there is one.

    Empty if the lines end before, or may end in the middle of a PDF.
    """
    own: list[Key] = []
    while (key := keys.peek()) is not None:
        if key.page != (len(own) + 1 if key.page is not None else None):
            break
        if key.source not in (printable(source.path), source_cell(source.path)):
            if own:
                break
            raise UserError(
                f"{file.path}: answer {row + 1} is about {key.source}, and the sources given have {source.path} there; "
                "give the same sources in the same order"
            )
        own.append(keys.take())
        if key.page is None:
            return own
    pdf = source.path.lower().endswith(".pdf")
    return [] if pdf else own


class _Ahead:
    """An iterator that shows its next element."""

    def __init__(self, keys: Iterator[Key]) -> None:
        self._keys = keys
        self._next = next(keys, None)

    def peek(self) -> Key | None:
        return self._next

    def take(self) -> Key:
        if self._next is None:
            raise RuntimeError("no line is left")
        taken, self._next = self._next, next(self._keys, None)
        return taken
