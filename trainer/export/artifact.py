"""What is exported: the whole stack or one model, as one function from stored pages to calibrated probabilities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.config import STACK
from trainer.scoring.metrics import SMALLEST_PROBABILITY
from trainer.serving.ensemble import Member, RegionPages, stack_answer
from trainer.stack.fit import FittedStack

Format = Literal["saved_model", "onnx", "litert"]

Pages = Mapping[str, npt.NDArray[np.uint8]]
"""uint8 [n, height, width, channels] by region, as stored in the shards."""

Runner = Callable[[Pages], dict[str, npt.NDArray[np.float32]]]
"""A written model, opened: pages to float32 [n, classes] by output."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """Models to export together. name: `stack`, or a job's name. stack: None for a single model.

    temperatures: by model; a model without one gives its probabilities as trained.
    """

    name: str
    members: tuple[Member, ...]
    stack: FittedStack | None
    temperatures: Mapping[str, float]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs: the members', then the stack's."""
        return [*(member.name for member in self.members), *([STACK] if self.stack else [])]

    @property
    def regions(self) -> dict[str, RegionPages]:
        """The regions that the members take, by name."""
        return {member.region: member.pages for member in self.members}

    def probabilities(self, pages: Mapping[str, Any], *, dtype: str = "float64") -> dict[str, Any]:
        """Calibrated float32 [n, classes] by output, in TensorFlow, from uint8 [n, *shape] by region.

        dtype: of the stack and the calibration. `float64` gives the bits of the report; other formats lack it.
        """
        import tensorflow as tf

        trained = {member.name: member.model(pages[member.region], training=False) for member in self.members}
        if self.stack is not None:
            joined = tf.stack([trained[member.name] for member in self.members], axis=1)
            trained[STACK] = stack_answer(self.stack, joined, dtype=dtype)
        return {name: self._calibrated(name, softmax, dtype) for name, softmax in trained.items()}

    def _calibrated(self, name: str, softmax: Any, dtype: str) -> Any:
        """`trainer.scoring.temperature.at_temperature` in TensorFlow."""
        import tensorflow as tf

        if name not in self.temperatures:
            return softmax
        logarithms = tf.math.log(tf.maximum(tf.cast(softmax, dtype), tf.constant(SMALLEST_PROBABILITY, dtype)))
        return tf.cast(tf.nn.softmax(logarithms / tf.constant(self.temperatures[name], dtype)), tf.float32)
