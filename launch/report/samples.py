"""Which test pages a report shows, and what every model said about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.metrics import correct
from trainer.scoring.predictions import Predictions

TOP = 3
"""Classes shown for each model."""


def pick_samples(
    tables: Mapping[str, Predictions], *, final: str, reference: str | None, each: int = 4
) -> list[dict[str, Any]]:
    """Up to `each` pages of three kinds: mended (reference wrong, final right), wrong, and right.

    The choice depends on the outputs alone: the most confident first, no class twice while others are left.
    """
    rows = tables[final]
    if len(rows.ids) == 0:
        return []
    right, sure = correct(rows.labels, rows.softmax), rows.softmax.max(axis=1)
    mended = right & ~_right_by_id(tables[reference], rows.ids) if reference else np.zeros_like(right)
    kinds = {"mended": mended, "wrong": ~right, "right": right & ~mended}
    return [
        {
            "id": str(rows.ids[place]),
            "label": int(rows.labels[place]),
            "kind": kind,
            "models": {name: top for name, table in tables.items() if (top := _top(table, str(rows.ids[place])))},
        }
        for kind, mask in kinds.items()
        for place in _spread(np.flatnonzero(mask), rows.labels, sure=sure, count=each)
    ]


def top_classes(softmax: NDArray[np.floating[Any]], count: int = TOP) -> list[tuple[int, float]]:
    """The `count` most probable (class index, probability) of an output float[C], best first."""
    order = np.argsort(-softmax, kind="stable")[:count]
    return [(int(index), float(softmax[index])) for index in order]


def _top(table: Predictions, page_id: str) -> list[tuple[int, float]]:
    place = int(np.searchsorted(table.ids, page_id))
    known = place < len(table.ids) and table.ids[place] == page_id
    return top_classes(table.softmax[place]) if known else []


def _right_by_id(table: Predictions, ids: NDArray[np.str_]) -> NDArray[np.bool_]:
    """bool[n]: whether `table` (sorted by id) is right about each of `ids`; pages it lacks count as right."""
    known = dict(zip(table.ids.tolist(), correct(table.labels, table.softmax).tolist(), strict=True))
    return np.array([known.get(page_id, True) for page_id in ids.tolist()], dtype=np.bool_)


def _spread(candidates: NDArray[np.intp], labels: NDArray[Any], *, sure: NDArray[Any], count: int) -> Sequence[int]:
    """`count` of the candidates, the surest first, each class at most once before any comes again."""
    ordered = sorted(candidates.tolist(), key=lambda place: (-float(sure[place]), place))
    seen: dict[int, int] = {}
    rounds = []
    for place in ordered:
        label = int(labels[place])
        rounds.append((seen.get(label, 0), place))
        seen[label] = seen.get(label, 0) + 1
    return [place for _, place in sorted(rounds, key=lambda pair: pair[0])[:count]]
