"""The answer about one page or document, as `predict` and `serve` write it: a record, a CSV row, a JSON object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_tools.plain_text import printable
from trainer.config import STACK
from trainer.scoring.decision import answering

Kind = Literal["page", "document"]

Outputs = Mapping[str, NDArray[np.floating[Any]]]
"""Probabilities [classes] by model, the stack's last."""

DIGITS = 6
"""Decimal places of a written probability. More would show the device and the batch, not the page."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a cell as a formula."""

_BEFORE = ("source", "kind", "page", "class", "confidence", "runner_up", "runner_up_confidence", "decision")
_AFTER = ("error",)


@dataclass(frozen=True)
class Place:
    """What an answer is about. source: the file as it was given, or an upload's name. page: from 1; None: the file."""

    source: str
    page: int | None = 1

    @property
    def kind(self) -> Kind:
        """`page`, or `document` for a whole file."""
        return "document" if self.page is None else "page"


@dataclass(frozen=True)
class Vote:
    """A class and the probability, 0 to 1, that a model assigns to it."""

    name: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """What the models say about one page or document, or the reason why it was rejected.

    best, runner_up: the two most probable classes of what answers, the stack unless it is a single model; None if
    rejected (runner_up: or with a single class). decision: `accepted`, `review` or `unknown`; None without a policy in
    the run. members: the best class of each other model, by model. probabilities: by model and class, those of what
    answers last. error: the reason, or None.
    """

    place: Place
    best: Vote | None = None
    runner_up: Vote | None = None
    decision: str | None = None
    members: Mapping[str, Vote] = field(default_factory=dict)
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str | None = None


def answer_of(place: Place, outputs: Outputs, class_names: Sequence[str], *, decision: str | None = None) -> Answer:
    """The answer that the outputs give; class_names: in the order of the columns, each once (`distinct_names`)."""
    model = answering(outputs)
    first, *others = _ranked(outputs[model], class_names)
    return Answer(
        place=place,
        best=first,
        runner_up=others[0] if others else None,
        decision=decision,
        members={name: _ranked(row, class_names)[0] for name, row in outputs.items() if name != model},
        probabilities={
            name: dict(zip(class_names, map(float, outputs[name]), strict=True)) for name in _last(model, outputs)
        },
    )


def rejected(place: Place, reason: str) -> Answer:
    """The answer about a page or file that cannot be read."""
    return Answer(place, error=reason)


def _ranked(row: NDArray[np.floating[Any]], class_names: Sequence[str]) -> list[Vote]:
    """The two most probable classes, or one; of equal ones the first in class order."""
    best = np.argsort(-row, kind="stable")[:2]
    return [Vote(class_names[place], float(row[place])) for place in best.tolist()]


def _last(model: str, outputs: Outputs) -> list[str]:
    """The models in their order, `model` last."""
    return sorted(outputs, key=lambda name: name == model)


def distinct_names(class_ids: Sequence[int], class_names: Sequence[str]) -> list[str]:
    """The names; those that several classes have with the class id, so that a name identifies a class."""
    return [
        name if class_names.count(name) == 1 else f"{name} ({class_id})"
        for class_id, name in zip(class_ids, class_names, strict=True)
    ]


def as_json(answer: Answer, *, probabilities: bool = False) -> dict[str, Any]:
    """The answer as plain data that fits `json_schema`; probabilities: whether to include those of all classes."""
    value: dict[str, Any] = {
        "source": printable(answer.place.source),
        "kind": answer.place.kind,
        "page": answer.place.page,
        "class": answer.best.name if answer.best else None,
        "confidence": round(answer.best.probability, DIGITS) if answer.best else None,
        "runner_up": _vote(answer.runner_up) if answer.runner_up else None,
        "decision": answer.decision,
        "members": {name: _vote(vote) for name, vote in answer.members.items()},
        "error": answer.error,
    }
    if probabilities:
        value["probabilities"] = {
            model: {name: round(share, DIGITS) for name, share in shares.items()}
            for model, shares in answer.probabilities.items()
        }
    return value


def _vote(vote: Vote) -> dict[str, Any]:
    return {"class": vote.name, "confidence": round(vote.probability, DIGITS)}


def csv_columns(
    members: Sequence[str], class_names: Sequence[str], *, probabilities: bool = False, model: str = STACK
) -> list[str]:
    """Names of the columns of `csv_row`: members' classes by model name, probabilities as `model:class`.

    model: what answers, whose probabilities are last.
    """
    columns = [*_BEFORE, *members, *_AFTER]
    if probabilities:
        columns += [f"{one}:{name}" for one in (*members, model) for name in class_names]
    return columns


def csv_row(
    answer: Answer,
    members: Sequence[str],
    class_names: Sequence[str],
    *,
    probabilities: bool = False,
    model: str = STACK,
) -> list[str]:
    """The answer's cells for `csv_columns`; empty where it has no value, and never a spreadsheet's formula."""
    best, second = answer.best, answer.runner_up
    cells = [
        source_cell(answer.place.source),
        answer.place.kind,
        "" if answer.place.page is None else str(answer.place.page),
        _text_cell(best.name) if best else "",
        _number(best.probability) if best else "",
        _text_cell(second.name) if second else "",
        _number(second.probability) if second else "",
        answer.decision or "",
        *(_text_cell(answer.members[name].name) if name in answer.members else "" for name in members),
        _text_cell(printable(answer.error or "")),
    ]
    if probabilities:
        shares = [answer.probabilities.get(one, {}) for one in (*members, model)]
        cells += [_number(own[name]) if name in own else "" for own in shares for name in class_names]
    return cells


def _number(share: float) -> str:
    return f"{share:.{DIGITS}f}"


def source_cell(source: str) -> str:
    """A file's name in CSV: where it would be a formula, the same file by another name, `./=name`."""
    text = printable(source)
    return f"./{text}" if text.startswith(_FORMULA) else text


def _text_cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `as_json`."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    vote = {
        "type": "object",
        "properties": {"class": {"type": "string"}, "confidence": share},
        "required": ["class", "confidence"],
        "additionalProperties": False,
    }
    shares = {"type": "object", "additionalProperties": share}
    properties = {
        "source": {"type": "string", "description": "the file as given"},
        "kind": {"enum": ["page", "document"]},
        "page": {"type": ["integer", "null"], "minimum": 1, "description": "page of the file; null: the whole file"},
        "class": {"type": ["string", "null"]},
        "confidence": {"oneOf": [share, {"type": "null"}]},
        "runner_up": {"oneOf": [vote, {"type": "null"}]},
        "decision": {"enum": ["accepted", "review", "unknown", None]},
        "members": {"type": "object", "additionalProperties": vote},
        "error": {"type": ["string", "null"], "description": "why it was rejected"},
        "probabilities": {"type": "object", "additionalProperties": shares},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answer",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != "probabilities"],
        "additionalProperties": False,
    }
