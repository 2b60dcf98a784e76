"""Layers that a stage leaves as they are: patterns over their names, and the epochs that train the head alone.

A frozen layer's weights do not move, and its BatchNorm works with its moving statistics, which do not move
either, in training as in evaluation. Its gradients are neither computed nor sent between ranks.
"""

import difflib
import fnmatch
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from data_tools.errors import UserError
from trainer.config import StageConfig
from trainer.model import Classifier

BACKBONE = "backbone/"
"""Before the names of the backbone's layers; those of the head (`dense_1`, `logits`) stand alone."""

UP_TO = ".."
"""Before a layer's name: it and all layers of the backbone before it."""


@dataclass(frozen=True)
class FreezePlan:
    """The frozen layers, by name: `always`, and those that the first `head_epochs` leave alone as well."""

    always: frozenset[str]
    backbone: frozenset[str]
    head_epochs: int

    def at(self, epoch: int) -> frozenset[str]:
        """Frozen layers of epoch `epoch`, the first being 0."""
        return self.always | self.backbone if epoch < self.head_epochs else self.always


def plan_freezing(stage: StageConfig, layers: Sequence[str]) -> FreezePlan:
    """What a stage freezes of `layers`, the names of all that have weights, in their order.

    Raises:
        UserError: an entry of `freeze` that matches no layer, or nothing left to train; the text names it.
    """
    always = frozenset(name for entry in stage.freeze for name in _matching(entry, layers))
    plan = FreezePlan(always, frozenset(n for n in layers if n.startswith(BACKBONE)), stage.head_epochs)
    if always >= set(layers):
        raise UserError(f"freeze: {', '.join(stage.freeze)} leaves no layer to train")
    if stage.head_epochs and plan.at(0) >= set(layers):
        raise UserError(f"head_epochs: freeze: {', '.join(stage.freeze)} leaves no layer of the head to train")
    return plan


def _matching(entry: str, layers: Sequence[str]) -> list[str]:
    if entry.startswith(UP_TO):
        last = BACKBONE + entry.removeprefix(UP_TO).removeprefix(BACKBONE)
        if last in layers:
            return [name for name in layers[: layers.index(last) + 1] if name.startswith(BACKBONE)]
    matching = fnmatch.filter(layers, entry)
    if not matching:
        wanted = BACKBONE + entry.removeprefix(UP_TO).removeprefix(BACKBONE)
        near = difflib.get_close_matches(wanted, layers, n=1) or [layers[0]]
        raise UserError(f"freeze: {entry} matches no layer with weights; did you mean {near[0]}?")
    return matching


def layers_of(classifier: Classifier) -> dict[str, Any]:
    """Keras layers that have weights, by name, in the order in which a page passes them."""
    head = [layer for layer in classifier.model.layers if layer is not classifier.backbone]
    named = {BACKBONE + layer.name: layer for layer in classifier.backbone.layers}
    return {name: layer for name, layer in (named | {layer.name: layer for layer in head}).items() if layer.weights}


def freeze(classifier: Classifier, frozen: Collection[str]) -> None:
    """Freeze the layers named and no others; a step that is compiled already must be compiled anew."""
    for name, layer in layers_of(classifier).items():
        layer.trainable = name not in frozen
