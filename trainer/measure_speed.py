"""Measures the speed of one worker on this machine: real steps and evaluations on random pages, in this process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config import JobConfig
from trainer.device import prepare_device
from trainer.job import build_step
from trainer.network.batchnorm import PreciseStatistics
from trainer.network.classifier import Geometry
from trainer.training.step import TrainStep
from trainer.world import World

MIN_TIMES, MAX_TIMES = 3, 50
MEASURE_S = 1.5
"""Duration of one measurement after compilation, s, unless `MIN_TIMES` runs take longer."""


@dataclass(frozen=True)
class Measured:
    """Durations in seconds: `steps_s` of a step on each of two `batches` (pages per worker), `evaluated_page_s` of one
    page in an evaluation, `startup_s` of building, tracing and compiling up to the first step and evaluation."""

    batches: tuple[int, int]
    steps_s: tuple[float, float]
    evaluated_page_s: float
    startup_s: float

    @property
    def page_s(self) -> float:
        """Seconds that one more page in the batch adds to a step."""
        (small, large), (short, long) = self.batches, self.steps_s
        return max((long - short) / (large - small), 0.05 * long / large)

    @property
    def fixed_s(self) -> float:
        """Seconds of a step that do not depend on the batch."""
        return max(self.steps_s[1] - self.batches[1] * self.page_s, 0.0)


class Calibration:
    """One worker on this machine, set up like a worker of a job."""

    def __init__(self, job: JobConfig) -> None:
        """Start a world of one and choose its device.

        Raises:
            UserError: the environment shows GPUs that TensorFlow does not find.
        """
        self._world = World.start()
        self.device = prepare_device(self._world, job.training, seed=job.seed)

    def measure(self, job: JobConfig, geometry: Geometry, *, classes: int, batch: int) -> Measured:
        """Train and evaluate on random pages with all settings of the job, micro-batches, EMA and frozen layers too.

        batch: a worker's share of the global batch, pages; rounded up to whole micro-batches.

        Raises:
            UserError: the network cannot be built at this geometry.
        """
        import tensorflow as tf

        began = time.perf_counter()
        step, _ = build_step(job, geometry, classes=classes, world=self._world)
        sizes = batch_sizes(batch, job.stage.micro_batches)
        model = step.classifier.model
        forward = tf.function(lambda images: model(images, training=False), autograph=False)
        images = _random_pages(geometry, job.training.evaluation_batch)
        _run_of(step, geometry, classes, sizes[1])()
        with step.evaluated_weights():
            forward(images).numpy()
            if job.training.batchnorm_batches:
                PreciseStatistics(step.classifier, self._world).update([np.asarray(images)])
        startup_s = time.perf_counter() - began
        short, long = (_median_s(_run_of(step, geometry, classes, size)) for size in sizes)
        with step.evaluated_weights():
            evaluated_page_s = _median_s(lambda: forward(images).numpy()) / job.training.evaluation_batch
        return Measured(sizes, (short, long), evaluated_page_s, startup_s)


def batch_sizes(batch: int, micro_batches: int) -> tuple[int, int]:
    """The two batches to measure, in pages: about half of `batch`, and `batch`, both whole micro-batches."""
    small, large = (-(-pages // micro_batches) * micro_batches for pages in (max(1, batch // 2), batch))
    return small, large if large > small else small + micro_batches


def _run_of(step: TrainStep, geometry: Geometry, classes: int, size: int) -> Callable[[], Any]:
    """A function that takes one step on `size` random pages and waits for the device."""
    import tensorflow as tf

    images = _random_pages(geometry, size)
    labels = tf.constant(np.arange(size) % classes, tf.int32)

    def run() -> Any:
        step(images, labels)
        return step.read_sums()

    return run


def _random_pages(geometry: Geometry, count: int) -> Any:
    """uint8 [count, height, width, channels]"""
    import tensorflow as tf

    shape = (count, geometry.height, geometry.width, geometry.channels)
    return tf.constant(np.random.default_rng(1).integers(0, 256, shape, np.uint8))


def _median_s(run: Callable[[], Any]) -> float:
    run()  # compiles for this batch
    times: list[float] = []
    while len(times) < MIN_TIMES or (sum(times) < MEASURE_S and len(times) < MAX_TIMES):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return float(np.median(times))
