"""Selects the test pages that a report shows, with the most probable classes of every model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.metrics import correct
from trainer.scoring.predictions import Predictions

TOP = 3
"""Classes shown per model."""

ClassShare = tuple[int, float]
"""A class index and its probability."""


@dataclass(frozen=True)
class Sample:
    """A test page. label: class index. models: the most probable classes, best first, by model.

    kind: `corrected` if the reference model is wrong and the final one right; otherwise whether the final one is right.
    """

    id: str
    label: int
    kind: Literal["corrected", "wrong", "right"]
    models: Mapping[str, Sequence[ClassShare]]


def pick_samples(
    tables: Mapping[str, Predictions], *, final: str, reference: str | None, per_kind: int = 4
) -> list[Sample]:
    """Up to `per_kind` pages of each kind, from the test predictions by model.

    Picks the pages on which the final model is most confident, and repeats no class while others are left.
    """
    rows = tables[final]
    if len(rows.ids) == 0:
        return []
    right, confidence = correct(rows.labels, rows.softmax), rows.softmax.max(axis=1)
    corrected = right & ~_right_by_id(tables[reference], rows.ids) if reference else np.zeros_like(right)
    kinds: dict[Literal["corrected", "wrong", "right"], NDArray[np.bool_]] = {
        "corrected": corrected,
        "wrong": ~right,
        "right": right & ~corrected,
    }
    return [
        Sample(
            id=str(rows.ids[place]),
            label=int(rows.labels[place]),
            kind=kind,
            models={name: top for name, table in tables.items() if (top := _top(table, str(rows.ids[place])))},
        )
        for kind, mask in kinds.items()
        for place in _spread(np.flatnonzero(mask), rows.labels, confidence=confidence, count=per_kind)
    ]


def top_classes(softmax: NDArray[np.floating[Any]], count: int = TOP) -> list[ClassShare]:
    """The `count` most probable classes of an output float[C], best first."""
    order = np.argsort(-softmax, kind="stable")[:count]
    return [(int(index), float(softmax[index])) for index in order]


def _top(table: Predictions, page_id: str) -> list[ClassShare]:
    place = int(np.searchsorted(table.ids, page_id))
    known = place < len(table.ids) and table.ids[place] == page_id
    return top_classes(table.softmax[place]) if known else []


def _right_by_id(table: Predictions, ids: NDArray[np.str_]) -> NDArray[np.bool_]:
    """bool[n]: whether `table` is right about each of `ids`; a page that it lacks counts as right."""
    known = dict(zip(table.ids.tolist(), correct(table.labels, table.softmax).tolist(), strict=True))
    return np.array([known.get(page_id, True) for page_id in ids.tolist()], dtype=np.bool_)


def _spread(
    candidates: NDArray[np.intp], labels: NDArray[Any], *, confidence: NDArray[Any], count: int
) -> Sequence[int]:
    """`count` of the candidates in rounds of distinct classes, within a round by descending confidence."""
    ordered = sorted(candidates.tolist(), key=lambda place: (-float(confidence[place]), place))
    seen: dict[int, int] = {}
    rounds = []
    for place in ordered:
        label = int(labels[place])
        rounds.append((seen.get(label, 0), place))
        seen[label] = seen.get(label, 0) + 1
    return [place for _, place in sorted(rounds, key=lambda pair: pair[0])[:count]]
