"""The files of `predict` as text: a head, one line for each answer, a tail. So each can be cut and continued."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from trainer.config import STACK
from trainer.serving.answer import Answer, as_json, csv_columns, csv_row


@dataclass
class Counts:
    """Answers so far. answered: pages and documents with a class; decisions: how many of them have which."""

    answered: int = 0
    rejected: int = 0
    decisions: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All answers."""
        return self.answered + self.rejected

    def add(self, *, rejected: bool, decision: str | None) -> None:
        """Count one answer."""
        if rejected:
            self.rejected += 1
        else:
            self.answered += 1
        if decision:
            self.decisions[decision] = self.decisions.get(decision, 0) + 1

    def plus(self, answers: Sequence[Answer]) -> "Counts":
        """These and those of `answers`."""
        counts = Counts(self.answered, self.rejected, dict(self.decisions))
        for answer in answers:
            counts.add(rejected=answer.error is not None, decision=answer.decision)
        return counts


class Key(NamedTuple):
    """What a written line is about. source: as the file shows it; page: None for a document."""

    source: str
    page: int | None
    rejected: bool
    decision: str | None


@dataclass(frozen=True)
class About:
    """What all lines of a file share. classes: id and name by output, names distinct; members: names of the models
    beside `model`, which answers."""

    run: str
    classes: Sequence[tuple[int, str]]
    members: Sequence[str]
    probabilities: bool
    model: str = STACK

    @property
    def names(self) -> list[str]:
        """Names of the classes in the order of the outputs."""
        return [name for _, name in self.classes]


class Form(Protocol):
    """A file format. A line never contains a line break. end: the tail's first line, None without a tail.

    names_sources: whether `key` says what a line is about.
    """

    kind: str
    end: str | None
    names_sources: bool

    def head(self) -> str:
        """What precedes the lines; equal for commands that can continue each other's file."""

    def line(self, answer: Answer, row: int) -> str:
        """The line of answer number `row`, from 0 on, without a line break."""

    def tail(self, counts: Counts) -> str:
        """What follows the lines of a complete or interrupted file."""

    def key(self, line: str) -> Key | None:
        """What a line is about; None if the form's lines do not say."""

    def resume(self, line: str) -> None:
        """Take note of a line that an earlier command wrote."""


@dataclass
class CsvForm:
    """Comma-separated values with a header (RFC 4180, lines end in a line feed)."""

    about: About
    kind: str = "csv"
    end: str | None = None
    names_sources: bool = True

    def head(self) -> str:
        """The header."""
        return _csv_line(self._columns()) + "\n"

    def line(self, answer: Answer, row: int) -> str:
        """The row's cells."""
        about = self.about
        cells = csv_row(answer, about.members, about.names, probabilities=about.probabilities, model=about.model)
        return _csv_line(cells)

    def tail(self, counts: Counts) -> str:
        """Nothing."""
        return ""

    def key(self, line: str) -> Key | None:
        """From the cells.

        Raises:
            ValueError: the line is not a row of this file.
        """
        cells = next(csv.reader([line], strict=True), [])
        value = dict(zip(self._columns(), cells, strict=True))
        page = int(value["page"]) if value["page"] else None
        return Key(value["source"], page, bool(value["error"]), value["decision"] or None)

    def resume(self, line: str) -> None:
        """Nothing to note."""

    def _columns(self) -> list[str]:
        about = self.about
        return csv_columns(about.members, about.names, probabilities=about.probabilities, model=about.model)


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


@dataclass
class JsonLinesForm:
    """One JSON object a line."""

    about: About
    kind: str = "jsonl"
    end: str | None = None
    names_sources: bool = True

    def head(self) -> str:
        """Nothing."""
        return ""

    def line(self, answer: Answer, row: int) -> str:
        """The object."""
        return json.dumps(as_json(answer, probabilities=self.about.probabilities), ensure_ascii=False, allow_nan=False)

    def tail(self, counts: Counts) -> str:
        """Nothing."""
        return ""

    def key(self, line: str) -> Key | None:
        """From the object.

        Raises:
            ValueError: the line is not a row of this file.
        """
        return _json_key(json.loads(line))

    def resume(self, line: str) -> None:
        """Nothing to note."""


def _json_key(value: Any) -> Key:
    try:
        return Key(value["source"], value["page"], value["error"] is not None, value["decision"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no answer: {error}") from None


@dataclass
class JsonForm(JsonLinesForm):
    """One JSON object with the classes and all answers; each answer is on a line of its own."""

    kind: str = "json"
    end: str | None = "]}"

    def head(self) -> str:
        """The run and its classes."""
        classes = [{"id": class_id, "name": name} for class_id, name in self.about.classes]
        about = json.dumps({"run": self.about.run, "classes": classes}, ensure_ascii=False)
        return f'{about[:-1]}, "answers": [\n'

    def line(self, answer: Answer, row: int) -> str:
        """The object, after the comma that separates it from the one before."""
        return ("," if row else " ") + super().line(answer, row)

    def tail(self, counts: Counts) -> str:
        """The end of the list."""
        return f"{self.end}\n"

    def key(self, line: str) -> Key | None:
        """From the object.

        Raises:
            ValueError: the line is not a row of this file.
        """
        return _json_key(json.loads(line[1:]))
