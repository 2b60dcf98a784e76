"""Layers that a stage leaves as they are: patterns over their names, and the epochs that train the head alone.

A frozen layer's weights do not move, and its BatchNorm works with its moving statistics, which do not move
either, in training as in evaluation. Its gradients are neither computed nor sent between ranks.
"""

import difflib
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_tools.errors import UserError
from trainer.config import StageConfig
from trainer.network.classifier import Classifier

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


def plan_freezing(stage: StageConfig, layers: Mapping[str, bool]) -> FreezePlan:
    """What a stage freezes. layers: of each layer, by name and in their order, whether it has weights.

    Raises:
        UserError: an entry of `freeze` that matches no layer, or nothing left to train; the text names it.
    """
    weighted = [name for name, has_weights in layers.items() if has_weights]
    always = frozenset(name for entry in stage.freeze for name in _matching(entry, list(layers), weighted))
    plan = FreezePlan(always, frozenset(n for n in weighted if n.startswith(BACKBONE)), stage.head_epochs)
    if always >= set(weighted):
        raise UserError(f"freeze: {', '.join(stage.freeze)} leaves no layer to train")
    if stage.head_epochs and plan.at(0) >= set(weighted):
        raise UserError(f"head_epochs: freeze: {', '.join(stage.freeze)} leaves no layer of the head to train")
    return plan


def _matching(entry: str, layers: Sequence[str], weighted: Sequence[str]) -> list[str]:
    """The layers with weights that an entry stands for; a block's last layer (`..mixed_6a`) needs to have none."""
    name = BACKBONE + entry.removeprefix(UP_TO).removeprefix(BACKBONE)
    if entry.startswith(UP_TO) and name in layers:
        before = set(layers[: layers.index(name) + 1])
        matching = [layer for layer in weighted if layer in before]
    else:
        matching = fnmatch.filter(weighted, entry)
    if not matching:
        near = difflib.get_close_matches(name, layers, n=1) or [weighted[0]]
        raise UserError(f"freeze: {entry} matches no layer with weights; did you mean {near[0]}?")
    return matching


def layer_names(classifier: Classifier) -> dict[str, bool]:
    """Every layer by the name that a configuration uses, in the order in which a page passes them: has it weights?"""
    return {name: bool(layer.weights) for name, layer in _layers(classifier).items()}


def _layers(classifier: Classifier) -> dict[str, Any]:
    head = {layer.name: layer for layer in classifier.model.layers if layer is not classifier.backbone}
    return {BACKBONE + layer.name: layer for layer in classifier.backbone.layers} | head


def freeze(classifier: Classifier, frozen: Collection[str]) -> None:
    """Freeze the layers named and no others; a step that is compiled already must be compiled anew."""
    for name, layer in _layers(classifier).items():
        layer.trainable = name not in frozen
