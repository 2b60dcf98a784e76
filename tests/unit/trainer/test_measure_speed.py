"""The measurement trains with the job's own settings, so it needs the memory that the job needs."""

from typing import Any

import numpy as np
import pytest

import trainer.measure_speed as measure_speed
from trainer.config import CheckpointConfig, JobConfig, ModelConfig, OptimizerConfig, StageConfig, TrainingConfig
from trainer.measure_speed import Calibration, batch_sizes
from trainer.network.classifier import Geometry
from trainer.training.step import TrainStep
from trainer.world import World

JOB = JobConfig(
    name="top",
    stage_name="regions",
    region="top",
    shards="shards",
    seed=1,
    stage=StageConfig(
        image_px=16,
        global_batch=6,
        micro_batches=3,
        freeze=("..re_lu",),
        optimizer=OptimizerConfig(learning_rate=0.1, ema_decay=0.9),
    ),
    model=ModelConfig(backbone="SmallConvNet", weights="none", dense=(), batchnorm_momentum=0.5),
    training=TrainingConfig(evaluation_batch=2, batchnorm_batches=1),
    checkpoint=CheckpointConfig(),
)


@pytest.mark.parametrize(
    ("batch", "micro_batches", "expected"),
    [
        (64, 1, (32, 64)),
        (1, 1, (1, 2)),  # two sizes separate the cost of a page from that of a step
        (64, 3, (33, 66)),  # rounded up to whole micro-batches
        (3, 3, (3, 6)),
    ],
)
def test_both_batches_divide_into_micro_batches(batch: int, micro_batches: int, expected: tuple[int, int]) -> None:
    assert batch_sizes(batch, micro_batches) == expected


def test_the_measured_step_has_all_settings_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[TrainStep, dict[str, Any]]] = []

    class RecordedStep(TrainStep):
        def __call__(self, images: Any, labels: Any) -> None:
            frozen = {v.path: v.numpy().copy() for v in self.classifier.backbone.layers[1].variables}
            super().__call__(images, labels)
            made.append((self, frozen))

    monkeypatch.setattr("trainer.job.TrainStep", RecordedStep)
    monkeypatch.setattr(measure_speed, "prepare_device", lambda *_, **__: "CPU")
    monkeypatch.setattr(measure_speed, "MIN_TIMES", 1)
    monkeypatch.setattr(measure_speed, "MEASURE_S", 0.0)
    monkeypatch.setattr(World, "start", classmethod(lambda cls: cls(0, 1, 0)))
    found = Calibration(JOB).measure(JOB, Geometry(16, 16, 1, 16), classes=4, batch=6)
    assert found.batches == (3, 6)
    step, frozen = made[-1]
    assert (step.micro_batches, step.ema_decay) == (3, 0.9)
    assert step.frozen == {"backbone/conv2d", "backbone/batch_normalization"}
    for variable in step.classifier.backbone.layers[1].variables:
        np.testing.assert_array_equal(variable.numpy(), frozen[variable.path])
    assert {layer.momentum for layer in step.classifier.backbone.layers if hasattr(layer, "momentum")} >= {0.5}
