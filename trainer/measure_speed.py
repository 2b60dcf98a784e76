"""Measures what one worker computes here: a few real steps and evaluations on random pages, in this process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config import JobConfig
from trainer.device import prepare_device
from trainer.network.batchnorm import PreciseStatistics
from trainer.network.classifier import Geometry, build_classifier
from trainer.training.step import TrainStep, build_optimizer
from trainer.world import World

LEAST_TIMES, MOST_TIMES = 3, 50
TURN_S = 1.5
"""Seconds that a measurement goes on for, once compiled, if `LEAST_TIMES` do not take longer."""


@dataclass(frozen=True)
class Measured:
    """Seconds of a step on each of two batches (`batches`, pages a worker), of a page evaluated, and until a first
    step and a first evaluation were through (building, tracing, compiling)."""

    batches: tuple[int, int]
    steps: tuple[float, float]
    evaluated: float
    first: float

    @property
    def page(self) -> float:
        """Seconds that one more page in a batch costs."""
        (small, large), (short, long) = self.batches, self.steps
        return max((long - short) / (large - small), 0.05 * long / large)

    @property
    def fixed(self) -> float:
        """Seconds of a step whatever its batch."""
        return max(self.steps[1] - self.batches[1] * self.page, 0.0)


class Calibration:
    """One worker of this machine, set up as a worker of a job is."""

    def __init__(self, job: JobConfig) -> None:
        self._world = World.start()
        self.device = prepare_device(self._world, job.training, seed=job.seed)

    def measure(self, job: JobConfig, geometry: Geometry, *, classes: int, batch: int) -> Measured:
        """Train and evaluate the stage's network on random pages; `batch`: pages a worker has in a step."""
        import tensorflow as tf

        began = time.perf_counter()
        classifier = build_classifier(job.model, geometry, classes=classes)
        optimizer = build_optimizer(job.stage.optimizer, precision=job.training.precision)
        step = TrainStep(classifier, optimizer, self._world, job.training)
        small = max(1, batch // 2)
        large = max(batch, small + 1)
        many = job.training.evaluation_batch
        forward = tf.function(lambda images: classifier.model(images, training=False), autograph=False)
        images = self._images(geometry, many)
        self._step(step, geometry, classes, large)()
        forward(images).numpy()
        if job.training.batchnorm_batches:
            PreciseStatistics(classifier, self._world).update([np.asarray(images)])
        first = time.perf_counter() - began
        steps = tuple(_median(self._step(step, geometry, classes, size)) for size in (small, large))
        evaluated = _median(lambda: forward(images).numpy()) / many
        return Measured((small, large), (steps[0], steps[1]), evaluated, first)

    def _step(self, step: TrainStep, geometry: Geometry, classes: int, size: int) -> Callable[[], Any]:
        import tensorflow as tf

        images = self._images(geometry, size)
        labels = tf.constant(np.arange(size) % classes, tf.int32)

        def run() -> Any:
            step(images, labels)
            return step.read_sums()  # waits for the device

        return run

    def _images(self, geometry: Geometry, size: int) -> Any:
        import tensorflow as tf

        shape = (size, geometry.height, geometry.width, geometry.channels)
        return tf.constant(np.random.default_rng(1).integers(0, 256, shape, np.uint8))


def _median(run: Callable[[], Any]) -> float:
    run()  # compiled for this batch
    times: list[float] = []
    while len(times) < LEAST_TIMES or (sum(times) < TURN_S and len(times) < MOST_TIMES):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return float(np.median(times))
