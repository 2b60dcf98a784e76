"""The cost of a network, counted from its layers: bytes of gradients and statistics, multiply-adds per page."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from trainer.config import ModelConfig
from trainer.network.classifier import Classifier, Geometry, build_classifier
from trainer.network.weights import is_seed

FLOAT_BYTES = 4


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


def facts_of_model(model: ModelConfig, geometry: Geometry, *, classes: int) -> ModelFacts:
    """Build the network on this machine and count.

    Raises:
        UserError: an unknown backbone, or a geometry that it cannot process.
    """
    return count(build_classifier(model, geometry, classes=classes))


def count(classifier: Classifier) -> ModelFacts:
    """The facts of a network that is built already."""
    model = classifier.model
    return ModelFacts(
        parameters=sum(prod(variable.shape) for variable in model.trainable_variables),
        statistics=sum(prod(v.shape) for v in model.non_trainable_variables if not is_seed(v)),
        multiply_adds=sum(_multiply_adds(layer) for layer in _layers(model)),
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
