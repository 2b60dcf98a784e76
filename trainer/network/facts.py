"""The cost of a network, counted from its layers: bytes of gradients and statistics, multiply-adds per page.

`backbones.json` holds the counts of the backbones at two sizes, from which those at other sizes follow, so that a plan
needs no TensorFlow:

    python -m trainer.network.facts    count all of them again, after an upgrade of Keras
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

from data_tools.files import read_json, write_json
from trainer.config import ModelConfig
from trainer.native_log import load_tensorflow
from trainer.network.backbones import backbone_names, build_backbone, check_size
from trainer.network.classifier import Geometry
from trainer.network.weights import is_seed

FLOAT_BYTES = 4
TABLE = Path(__file__).with_name("backbones.json")
TABLE_SIZES = (128, 256)
"""Sides of the square inputs, px, for which `TABLE` holds the backbones' counts."""


@dataclass(frozen=True)
class ModelFacts:
    """Counts of trainable parameters, of floats in BatchNorm's statistics, and of multiply-adds of one page forward."""

    parameters: int
    statistics: int
    multiply_adds: float

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the float32 gradients of one step."""
        return FLOAT_BYTES * self.parameters

    @property
    def statistic_bytes(self) -> int:
        """Bytes of the float32 statistics that one step averages."""
        return FLOAT_BYTES * self.statistics


@dataclass(frozen=True)
class BackboneFacts:
    """The counts of `ModelFacts` for a backbone alone, and the number of its output channels."""

    parameters: int
    statistics: int
    multiply_adds: float
    features: int


def facts_of_model(model: ModelConfig, geometry: Geometry, *, classes: int) -> ModelFacts:
    """Count the classifier: its backbone from `TABLE`, see `at_size`, or built here if that does not list it.

    Raises:
        UserError: an unknown backbone, or a geometry that it cannot process.
    """
    height, width = geometry.size
    known = {size: BackboneFacts(**facts) for size, facts in read_json(TABLE).get(model.backbone, {}).items()}
    if known:
        check_size(model.backbone, height, width)
    backbone = at_size(known, height, width) if known else backbone_facts(model.backbone, height, width)
    widths = (backbone.features, *model.dense, classes)
    weights = [inputs * outputs for inputs, outputs in pairwise(widths)]
    return ModelFacts(
        parameters=backbone.parameters + sum(weights) + sum(widths[1:]),
        statistics=backbone.statistics,
        multiply_adds=backbone.multiply_adds + sum(weights),
    )


def at_size(known: Mapping[str, BackboneFacts], height: int, width: int) -> BackboneFacts:
    """The counts for an input of `height` x `width` px, from those `known` at `TABLE_SIZES`.

    Only the multiply-adds depend on the size. They are proportional to the area without an edge, which layers without
    padding leave out; within 6 % of a count, and equal to it for networks with padding and sides that they divide.
    """
    if listed := known.get(f"{height}x{width}"):
        return listed
    small, large = (known[f"{px}x{px}"] for px in TABLE_SIZES)
    side = math.sqrt(small.multiply_adds)
    slope = (math.sqrt(large.multiply_adds) - side) / (TABLE_SIZES[1] - TABLE_SIZES[0])
    edge = TABLE_SIZES[0] - side / slope
    return replace(small, multiply_adds=slope**2 * (height - edge) * (width - edge))


def backbone_facts(name: str, height: int, width: int) -> BackboneFacts:
    """Build a backbone for RGB inputs of `height` x `width` px, and count.

    Raises:
        UserError: an unknown backbone, or a size that it cannot process.
    """
    load_tensorflow()
    model = build_backbone(name, (height, width, 3))
    return BackboneFacts(
        parameters=sum(prod(variable.shape) for variable in model.trainable_variables),
        statistics=sum(prod(v.shape) for v in model.non_trainable_variables if not is_seed(v)),
        multiply_adds=sum(_multiply_adds(layer) for layer in _layers(model)),
        features=int(model.output.shape[-1]),
    )


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else (layer,)


def _multiply_adds(layer: Any) -> float:
    """Each weight of a kernel is used once per place of the output; all other operations are negligible."""
    kernels = [weight for weight in layer.weights if len(weight.shape) > 1]
    if not kernels:
        return 0.0
    places = prod(layer.output.shape[1:-1])
    return float(places * sum(prod(kernel.shape) for kernel in kernels))


def main() -> None:
    """Count all backbones at `TABLE_SIZES` and write `TABLE`."""
    import keras

    table: dict[str, dict[str, Any]] = {}
    for name in backbone_names():
        for px in TABLE_SIZES:
            table.setdefault(name, {})[f"{px}x{px}"] = asdict(backbone_facts(name, px, px))
            keras.utils.clear_session()
    write_json(TABLE, table)


if __name__ == "__main__":
    main()
