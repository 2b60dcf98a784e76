"""The answers of `predict` as a table for people."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from data_tools.plain_text import printable
from launch.terminal.console import tables
from trainer.serving.answer import Answer, Vote

ROWS = 50
"""Rows of one table: widths of columns follow from as many, and no more are kept."""

LONGEST = 10_000
"""Characters of a line without a terminal, at most."""

FEW = 20
"""Answers that are shown beside the files that were written."""


class AnswerTable:
    """Prints answers in tables of `ROWS` rows. only_few: prints nothing if there are more than `FEW`."""

    def __init__(self, members: Sequence[str], *, only_few: bool) -> None:
        self._members = members
        self._only_few = only_few
        self._rows: list[Answer] = []
        self._silent = False

    def add(self, answers: Sequence[Answer]) -> None:
        """Take answers; prints full tables."""
        for answer in answers:
            if self._silent:
                return
            self._rows.append(answer)
            if self._only_few and len(self._rows) > FEW:
                self._silent, self._rows = True, []
            elif len(self._rows) == ROWS:
                self._print()

    def close(self) -> None:
        """Print the rest."""
        if self._rows:
            self._print()

    def _print(self) -> None:
        decided = any(answer.decision for answer in self._rows)
        table = Table(title="predictions")
        headings = ["page", "class", "confidence", "runner-up", *(["decision"] if decided else []), *self._members]
        for heading in headings:
            table.add_column(heading, justify="right" if heading == "confidence" else "left", overflow="fold")
        for answer in self._rows:
            table.add_row(*map(escape, self._cells(answer, decided=decided)))
        console = tables()
        if not console.is_terminal:
            # In a pipe or a log no name is cut or broken.
            wide = console.options.update(max_width=LONGEST)
            console.width = max(console.width, console.measure(table, options=wide).maximum)
        console.print(table)
        self._rows = []

    def _cells(self, answer: Answer, *, decided: bool) -> list[str]:
        name = _name(answer)
        if answer.best is None:
            return [name, f"rejected: {answer.error}"]
        cells = [name, answer.best.name, f"{answer.best.probability:.1%}", _vote(answer.runner_up)]
        cells += [answer.decision or ""] if decided else []
        return cells + [_vote(answer.members.get(member)) for member in self._members]


def _name(answer: Answer) -> str:
    name, page = printable(answer.place.source), answer.place.page
    return name if page in (1, None) else f"{name}, page {page}"


def _vote(vote: Vote | None) -> str:
    return f"{vote.name} {vote.probability:.0%}" if vote else ""
