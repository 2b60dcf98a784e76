"""What a job has traced, kept in its process for a next job with the same graph: it pays no tracing and no building.

The four region jobs of one geometry differ in their pages and start weights alone. A job that takes over gets every
variable as the network's builder left it, so it computes the same bits as with a new network.
"""

import gc
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.network.batchnorm import PreciseStatistics
from trainer.network.freezing import FreezePlan
from trainer.scoring.evaluate import Evaluator
from trainer.training.step import TrainStep


@dataclass
class Compiled:
    """The compiled step of a job, and what else traces its network."""

    step: TrainStep
    freezing: FreezePlan
    evaluator: Evaluator
    statistics: dict[frozenset[str], PreciseStatistics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._variables = self.step.all_variables()
        self._initial = [_compact(np.asarray(variable.numpy())) for variable in self._variables]

    def restart(self) -> None:
        """Give every variable its value from before the first step."""
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)
        self.step.restart()


def _compact(value: np.ndarray) -> np.ndarray:
    """`value`; zeros, such as an optimizer's moments, take no memory."""
    return value if value.any() else np.broadcast_to(np.zeros((), value.dtype), value.shape)


class Kept:
    """At most one `Compiled`: that of the last job of this process, unless it failed."""

    def __init__(self) -> None:
        self._last: tuple[Hashable, Compiled] | None = None

    def take(self, key: Hashable, build: Callable[[], Compiled]) -> Compiled:
        """What the last job left under `key`, as at its start; otherwise what `build` returns.

        key: equal keys mean equal graphs and equal initial values.
        """
        last, self._last = self._last, None
        if last is None:
            return build()
        if last[0] != key:
            del last  # Its memory is free before the next network is built.
            gc.collect()
            return build()
        last[1].restart()
        return last[1]

    @property
    def full(self) -> bool:
        """Whether it holds what a job left."""
        return self._last is not None

    def give(self, key: Hashable, compiled: Compiled) -> None:
        """Keep it for the next job; call it after success alone."""
        self._last = (key, compiled)


KEPT = Kept()


def graph_key(*parts: Any) -> Hashable:
    """A key from plain values and configuration dataclasses, which are compared by their fields."""
    return repr(parts)
