"""Frozen layers of a stage: patterns over their names, and the epochs that train the head alone.

The weights of a frozen layer do not change. A frozen BatchNorm layer normalizes by its moving statistics, in training
as in evaluation, and does not change them. Gradients of frozen layers are neither computed nor sent between ranks.
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
"""Prefix of the backbone's layers; those of the head (`dense_1`, `logits`) have none."""

UP_TO = ".."
"""Prefix for a layer of the backbone and all layers before it."""


@dataclass(frozen=True)
class FreezePlan:
    """Names of frozen layers: `always` through the stage, `backbone` as well in the first `head_epochs`."""

    always: frozenset[str]
    backbone: frozenset[str]
    head_epochs: int

    def at(self, epoch: int) -> frozenset[str]:
        """Frozen layers in epoch `epoch`, counted from 0."""
        return self.always | self.backbone if epoch < self.head_epochs else self.always


def plan_freezing(stage: StageConfig, layers: Mapping[str, bool]) -> FreezePlan:
    """The layers that a stage freezes. layers: by name, in order, whether each layer has weights.

    Raises:
        UserError: an entry of `freeze` matches no layer, or no layer is left to train.
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
    """The layers with weights that an entry matches; the layer after `..` may have none (`..mixed_6a`)."""
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
    """Whether each layer has weights, by its name in a configuration, in the order of the forward pass."""
    return {name: bool(layer.weights) for name, layer in named_layers(classifier).items()}


def named_layers(classifier: Classifier) -> dict[str, Any]:
    """The Keras layers by their names in a configuration: the backbone's first, then those of the head."""
    head = {layer.name: layer for layer in classifier.model.layers if layer is not classifier.backbone}
    return {BACKBONE + layer.name: layer for layer in classifier.backbone.layers} | head


def freeze(classifier: Classifier, frozen: Collection[str]) -> None:
    """Freeze the named layers and no others; a step that is compiled already must be compiled again."""
    for name, layer in named_layers(classifier).items():
        layer.trainable = name not in frozen
