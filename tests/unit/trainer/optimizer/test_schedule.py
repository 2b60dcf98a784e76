"""Tables of learning rates."""

import math
from typing import Any

import pytest

from trainer.config import OptimizerConfig, PlateauConfig, StageConfig
from trainer.optimizer.schedule import PlateauState, after_epoch, cosine_share, learning_rate, plateau_of, stage_rate

RECIPE = PlateauConfig(patience=2, factor=0.9)


@pytest.mark.parametrize(
    ("accuracies", "scales"),
    [
        ([0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1]),
        ([0.5, 0.5, 0.5, 0.5, 0.5], [1, 1, 0.9, 0.9, 0.81]),  # equal is no improvement; patience restarts
        ([0.5, 0.4, 0.6, 0.5, 0.5], [1, 1, 1, 1, 0.9]),  # an improvement forgives the epochs before it
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.5], [1, 1, 0.9, 0.9, 0.9, 0.81]),
    ],
)
def test_plateau(accuracies: list[float], scales: list[float]) -> None:
    state = PlateauState()
    seen = []
    for accuracy in accuracies:
        state = after_epoch(state, accuracy, RECIPE)
        seen.append(state.scale)
    assert seen == pytest.approx(scales)


def test_plateau_agrees_with_keras() -> None:
    """The same rule as the callback that the recipe's source used, on a long random history."""
    values = [0.1, 0.3, 0.3, 0.2, 0.31, 0.31, 0.31, 0.31, 0.4, 0.39, 0.2, 0.1, 0.41, 0.4, 0.4, 0.4]

    # keras.callbacks.ReduceLROnPlateau(monitor=val_accuracy, mode=max, patience=2, factor=0.9, min_delta=0), in words:
    rate, best, wait, expected = 1.0, float("-inf"), 0, []
    for value in values:
        if value > best:
            best, wait = value, 0
        else:
            wait += 1
            if wait >= 2:
                rate, wait = rate * 0.9, 0
        expected.append(rate)
    state, seen = PlateauState(), []
    for value in values:
        state = after_epoch(state, value, RECIPE)
        seen.append(state.scale)
    assert seen == pytest.approx(expected)


def test_without_a_plateau_rule_the_rate_stays() -> None:
    state = PlateauState()
    for accuracy in (0.5, 0.4, 0.3, 0.2):
        state = after_epoch(state, accuracy, None)
    assert state.scale == 1.0
    assert state.best == 0.5


@pytest.mark.parametrize(
    ("config", "scale", "step", "batch", "expected"),
    [
        ({"learning_rate": 0.1}, 1.0, 0, 128, 0.1),
        ({"learning_rate": 0.1}, 0.81, 500, 128, 0.081),
        ({"learning_rate": 0.1, "reference_batch": 128}, 1.0, 0, 1024, 0.8),  # linear scaling
        ({"learning_rate": 0.1, "warmup_epochs": 0.5}, 1.0, 0, 128, 0.1 / 5),  # 10 steps an epoch: 5 steps of warm-up
        ({"learning_rate": 0.1, "warmup_epochs": 0.5}, 1.0, 3, 128, 0.1 * 4 / 5),
        ({"learning_rate": 0.1, "warmup_epochs": 0.5}, 1.0, 4, 128, 0.1),
        ({"learning_rate": 0.1, "warmup_epochs": 0.5}, 1.0, 5, 128, 0.1),
    ],
)
def test_rate_at_a_step(config: dict[str, float], scale: float, step: int, batch: int, expected: float) -> None:
    optimizer = OptimizerConfig(**config)  # type: ignore[arg-type]
    rate = learning_rate(optimizer, PlateauState(scale), step=step, steps_per_epoch=10, global_batch=batch)
    assert rate == pytest.approx(expected)


@pytest.mark.parametrize(
    ("head_epochs", "head_rate", "step", "expected"),
    [
        (0, None, 0, 0.1 / 5),  # no head-first schedule: warm-up from the start, 5 steps of it
        (1, None, 0, 0.1 / 5),  # the head warms up,
        (1, None, 9, 0.1),
        (1, None, 10, 0.1 / 5),  # then all layers warm up
        (1, 0.5, 9, 0.5),  # a rate of its own for the head
        (1, 0.5, 10, 0.1 / 5),
        (2, 0.5, 10, 0.5),
        (2, 0.5, 24, 0.1),
    ],
)
def test_rate_of_a_stage_that_trains_its_head_first(
    head_epochs: int, head_rate: float | None, step: int, expected: float
) -> None:
    optimizer = OptimizerConfig(learning_rate=0.1, warmup_epochs=0.5)
    stage = StageConfig(optimizer=optimizer, epochs=4, head_epochs=head_epochs, head_learning_rate=head_rate)
    assert stage_rate(stage, PlateauState(), step=step, steps_per_epoch=10) == pytest.approx(expected)


def test_the_warmed_up_rate_follows_from_the_global_batch_alone() -> None:
    """Twice the batch: half the steps of warm-up, twice the rate at its end; the number of workers does not matter."""
    optimizer = OptimizerConfig(learning_rate=0.1, reference_batch=128, warmup_epochs=2)
    for batch, steps_per_epoch in ((128, 8), (256, 4), (512, 2)):
        options = {"steps_per_epoch": steps_per_epoch, "global_batch": batch}
        rates = [learning_rate(optimizer, PlateauState(), step=step, **options) for step in range(3 * steps_per_epoch)]
        full = 0.1 * batch / 128
        warmup = [full * (step + 1) / (2 * steps_per_epoch) for step in range(2 * steps_per_epoch)]
        assert rates == pytest.approx([*warmup, *[full] * steps_per_epoch])


@pytest.mark.parametrize(
    ("position", "final", "share"),
    [
        (0, 0.0, 1.0),
        (1 / 3, 0.0, 0.75),
        (0.5, 0.0, 0.5),
        (0.5, 0.2, 0.6),
        (1, 0.0, 0.0),
        (1, 0.2, 0.2),
        (1, 1.0, 1.0),
        (-0.5, 0.0, 1.0),  # in warm-up
    ],
)
def test_cosine(position: float, final: float, share: float) -> None:
    assert cosine_share(position, final) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(
    ("stage", "step", "expected"),
    [
        ({}, 0, 1.0),
        ({}, 20, 0.5),  # 4 epochs of 10 steps
        ({}, 39, 0.5 * (1 + math.cos(math.pi * 39 / 40))),  # the last step still learns
        ({"final_share": 0.1}, 20, 0.55),
        ({"warmup": 1}, 0, 0.1),
        ({"warmup": 1}, 9, 1.0),
        ({"warmup": 1}, 10, 1.0),  # the cosine starts where warm-up ends
        ({"warmup": 1}, 25, 0.5),
        ({"warmup": 0.2}, 1, 1.0),  # warm-up within an epoch
        ({"warmup": 0.2}, 21, 0.5),
        ({"head_epochs": 2}, 10, 0.5),  # a cosine for the head alone,
        ({"head_epochs": 2}, 20, 1.0),  # then one for all layers
        ({"head_epochs": 2}, 30, 0.5),
        ({"head_epochs": 2, "head_learning_rate": 8.0}, 10, 4.0),
        ({"head_epochs": 2, "head_learning_rate": 8.0, "warmup": 1}, 4, 4.0),
        ({"head_epochs": 2, "head_learning_rate": 8.0, "warmup": 1}, 24, 0.5),
    ],
)
def test_rate_of_a_cosine_schedule(stage: dict[str, float], step: int, expected: float) -> None:
    options: dict[str, Any] = dict(stage)
    optimizer = OptimizerConfig(learning_rate=1.0, warmup_epochs=options.pop("warmup", 0.0))
    config = StageConfig(schedule="cosine", epochs=4, optimizer=optimizer, **options)
    assert stage_rate(config, PlateauState(), step=step, steps_per_epoch=10) == pytest.approx(expected)


def test_each_phase_rises_to_the_rate_and_falls_to_its_final_share() -> None:
    optimizer = OptimizerConfig(learning_rate=1.0, warmup_epochs=0.5)
    stage = StageConfig(schedule="cosine", final_share=0.01, epochs=8, head_epochs=2, optimizer=optimizer)
    rates = [stage_rate(stage, PlateauState(), step=step, steps_per_epoch=100) for step in range(800)]
    for phase in (rates[:200], rates[200:]):
        assert phase[:50] == sorted(phase[:50])
        assert phase[49:] == sorted(phase[49:], reverse=True)
        assert max(phase) == 1.0
        assert min(phase[50:]) == pytest.approx(0.01, abs=1e-3)
        assert phase[50] - phase[51] < 1e-3, "without a jump"


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_other_schedules_ignore_the_plateau_rule(schedule: Any) -> None:
    """Whatever the accuracies were: the rate is a function of the step, so resuming needs no state."""
    assert plateau_of(StageConfig(schedule=schedule)) is None
    assert plateau_of(StageConfig()) == PlateauConfig()
    assert plateau_of(StageConfig(plateau=None)) is None


def test_a_constant_schedule_warms_up_and_stays() -> None:
    stage = StageConfig(schedule="constant", epochs=4, optimizer=OptimizerConfig(learning_rate=1.0, warmup_epochs=1))
    rates = [stage_rate(stage, PlateauState(), step=step, steps_per_epoch=2) for step in range(8)]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
