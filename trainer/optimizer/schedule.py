"""The learning rate of a step: linear scaling, warm-up, cosine, the plateau rule; pure functions."""

import math
from dataclasses import dataclass, replace

from trainer.config import OptimizerConfig, PlateauConfig, StageConfig


@dataclass(frozen=True)
class PlateauState:
    """State of the plateau rule between epochs; part of every checkpoint.

    scale: product of the reductions so far; best: best validation accuracy; waited: epochs since the best one.
    """

    scale: float = 1.0
    best: float = float("-inf")
    waited: int = 0


def after_epoch(state: PlateauState, accuracy: float, config: PlateauConfig | None) -> PlateauState:
    """The state after an epoch with this validation `accuracy`, 0 to 1.

    As in `keras.callbacks.ReduceLROnPlateau`, patience counts epochs without an improvement of more than `min_delta`
    and restarts after each reduction.
    """
    if config is None:
        return PlateauState(state.scale, max(state.best, accuracy), 0)
    if accuracy > state.best + config.min_delta:
        return PlateauState(state.scale, accuracy, 0)
    waited = state.waited + 1
    if waited >= config.patience:
        return PlateauState(state.scale * config.factor, state.best, 0)
    return PlateauState(state.scale, state.best, waited)


def plateau_of(stage: StageConfig) -> PlateauConfig | None:
    """The plateau rule of a stage; None if its schedule is another one."""
    return stage.plateau if stage.schedule == "plateau" else None


def learning_rate(
    config: OptimizerConfig, state: PlateauState, *, step: int, steps_per_epoch: int, global_batch: int
) -> float:
    """Learning rate of the step that follows `step` finished ones, without a cosine."""
    rate = config.learning_rate * state.scale
    if config.reference_batch is not None:
        rate *= global_batch / config.reference_batch
    warmup_steps = _warmup_steps(config, steps_per_epoch)
    if step < warmup_steps:
        rate *= (step + 1) / warmup_steps
    return rate


def _warmup_steps(config: OptimizerConfig, steps_per_epoch: int) -> int:
    return round(config.warmup_epochs * steps_per_epoch)


def cosine_share(position: float, final_share: float) -> float:
    """Share of the learning rate at `position`, from 0 at the first step to 1 after the last one.

    Half a cosine from 1 to `final_share`: Loshchilov & Hutter 2017 (arXiv 1608.03983), equation 5, without restarts.
    """
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * min(max(position, 0.0), 1.0)))


def head_steps(stage: StageConfig, steps_per_epoch: int) -> int:
    """Number of first steps of a stage that train the head alone."""
    return stage.head_epochs * steps_per_epoch


def stage_rate(stage: StageConfig, state: PlateauState, *, step: int, steps_per_epoch: int) -> float:
    """Learning rate of the step that follows `step` finished ones of a stage, with its head epochs if there are any.

    Warm-up and cosine run over the head epochs, and restart at the first step that trains all layers.
    """
    head = head_steps(stage, steps_per_epoch)
    first, end = (0, head) if step < head else (head, stage.epochs * steps_per_epoch)
    optimizer = stage.optimizer
    if step < head and stage.head_learning_rate is not None:
        optimizer = replace(optimizer, learning_rate=stage.head_learning_rate)
    rate = learning_rate(
        optimizer, state, step=step - first, steps_per_epoch=steps_per_epoch, global_batch=stage.global_batch
    )
    if stage.schedule != "cosine":
        return rate
    start = first + _warmup_steps(optimizer, steps_per_epoch)
    return rate * cosine_share((step - start) / max(end - start, 1), stage.final_share)
