"""Weights of the classes in the training loss, from the setting `data.class_weights`: pure functions."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from data_tools.errors import UserError

BALANCED: Literal["balanced"] = "balanced"
ClassWeights = Literal["balanced"] | dict[int | str, float]
"""`balanced`, or weights by class id or name; classes that are not named have a weight of 1."""


def check_weights(weights: ClassWeights | None) -> None:
    """Check that given weights are numbers above 0.

    Raises:
        UserError: one is not; the text names its class.
    """
    for key, weight in weights.items() if isinstance(weights, dict) else ():
        if not (weight > 0 and math.isfinite(weight)):
            raise UserError(f"class_weights.{key}: must be a number greater than 0, found {weight}")
    if weights == {}:
        raise UserError("class_weights: names no class; give `balanced`, weights by class, or null")


def weight_of_each(
    weights: ClassWeights | Mapping[str, float], class_ids: Sequence[int], names: Sequence[str], counts: Sequence[int]
) -> list[float]:
    """The weight of each class, in the order of `class_ids`; their mean over all training pages is 1.

    names: of the classes; counts: their training pages. `balanced` gives every class the same part of the loss: N / (C
    n) for a class of n pages, among N pages of C classes with pages. Given weights are scaled, so that the learning
    rate keeps its meaning.

    Raises:
        UserError: a weight for a class that does not exist, or two weights for one class.
    """
    total = sum(counts)
    if weights == BALANCED:
        present = sum(count > 0 for count in counts)
        return [total / (present * count) if count else 1.0 for count in counts]
    own = dict.fromkeys(range(len(class_ids)), 1.0)
    seen: dict[int, str] = {}
    for key, weight in dict(weights).items():
        place = _place(str(key), class_ids, names)
        if place in seen:
            raise UserError(f"data.class_weights: {seen[place]} and {key} are one class; keep one")
        seen[place], own[place] = str(key), weight
    scale = total / sum(own[place] * count for place, count in enumerate(counts)) if total else 1.0
    return [own[place] * scale for place in range(len(class_ids))]


def _place(key: str, class_ids: Sequence[int], names: Sequence[str]) -> int:
    found = {place for place, name in enumerate(names) if name == key}
    found |= {place for place, class_id in enumerate(class_ids) if str(class_id) == key}
    if len(found) == 1:
        return found.pop()
    if found:
        raise UserError(f"data.class_weights: {key} is the name of one class and the id of another; use names alone")
    known = ", ".join(name if name == str(i) else f"{i} ({name})" for i, name in zip(class_ids, names, strict=True))
    raise UserError(f"data.class_weights: no class {key}; the classes: {known}")
