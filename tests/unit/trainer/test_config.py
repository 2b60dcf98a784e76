"""Options of the step in the configuration: what is rejected, and that the presets use none of them."""

from typing import Any

import pytest

from data_tools.config import from_mapping
from data_tools.errors import UserError
from launch.config import load_config
from trainer.config import OptimizerConfig, StageConfig, TrainingConfig
from trainer.job import check_batch


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (StageConfig, {"global_batch": 1, "augment": {"mixup": 0.2}}, "global_batch: must be at least 2"),
        (StageConfig, {"augment": {"mixup": -1}}, r"x\.augment\.mixup: "),
        (
            StageConfig,
            {"augment": {"erase_fill": "black"}},
            r"x\.augment\.erase_fill: 'black' is not one of paper, gray",
        ),
        (StageConfig, {"augment": {"erase_area": [0.1]}}, r"x\.augment\.erase_area: expected a list of 2"),
        (StageConfig, {"micro_batches": 0}, "micro_batches: must be greater than 0, found 0"),
        (
            StageConfig,
            {"global_batch": 24, "micro_batches": 5},
            "micro_batches: 5 do not divide the global batch of 24 .*20 or 25",
        ),
        (StageConfig, {"global_batch": 24, "micro_batches": 48}, "micro_batches: 48 do not .* global_batch to 48$"),
        (TrainingConfig, {"steps_per_call": 4}, "steps_per_call: unknown setting"),
        (OptimizerConfig, {"ema_decay": 1.0}, "ema_decay: must be at least 0 and less than 1, found 1.0"),
        (OptimizerConfig, {"clip_norm": 0.0}, "clip_norm: must be greater than 0"),
        (OptimizerConfig, {"name": "adamw"}, "weight_decay: adamw without it is adam; set weight_decay"),
        (OptimizerConfig, {"name": "adamw", "weight_decay": 0.1, "momentum": 0.9}, "not supported by adamw"),
        (OptimizerConfig, {"layer_decay": 0.0}, "layer_decay: must be greater than 0 and at most 1, found 0.0"),
        (OptimizerConfig, {"layer_decay": 1.5}, "layer_decay: .* found 1.5"),
        (OptimizerConfig, {"warmup_epochs": float("inf")}, r"x\.warmup_epochs: expected a finite number, found inf"),
        (StageConfig, {"plateau": {"min_delta": -0.1}}, r"x\.plateau\.min_delta: must not be negative, found -0.1"),
        (StageConfig, {"schedule": "linear"}, "schedule"),
        (StageConfig, {"schedule": "cosine", "final_share": 1.1}, "final_share: .* found 1.1"),
        (StageConfig, {"final_share": 0.1}, "final_share: .* set that, or remove"),
        (StageConfig, {"schedule": "constant", "final_share": 0.1}, "final_share: has no effect"),
        (
            StageConfig,
            {"schedule": "cosine", "epochs": 3, "optimizer": {"warmup_epochs": 3}},
            "warmup_epochs: .* less than 3",
        ),
        (
            StageConfig,
            {"schedule": "cosine", "epochs": 9, "head_epochs": 1, "optimizer": {"warmup_epochs": 1}},
            r"warmup_epochs: .* less than 1 \(head_epochs\)",
        ),
        (TrainingConfig, {"jit_compile": True, "synchronized_batch_norm": True}, "turn one of them off"),
        (TrainingConfig, {"jit_compile": True}, "jit_compile, deterministic: .*deterministic: false"),
    ],
)
def test_invalid_settings_are_rejected(kind: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_mapping(kind, settings, where="x")


@pytest.mark.parametrize("preset", ["rvl_cdip", "das2018", "demo"])
def test_presets_use_none_of_the_options(preset: str) -> None:
    config = load_config(preset)
    training = config.training
    augment = [stage.augment for stage in config.stages.values()]
    assert not any(changes.active or changes.mixes for changes in augment)
    assert (training.precision, training.compression, training.label_smoothing) == ("float32", "none", 0.0)
    assert (training.jit_compile, training.synchronized_batch_norm) == (False, False)
    for stage in config.stages.values():
        optimizer = stage.optimizer
        assert (stage.micro_batches, optimizer.ema_decay, optimizer.clip_norm, optimizer.weight_decay) == (
            1, None, None, 0.0,
        )  # fmt: skip
        assert (stage.schedule, optimizer.layer_decay) == ("plateau", None)


@pytest.mark.parametrize(
    ("batch", "workers", "parts", "nearest"),
    [(25, 2, 1, "24 or 26"), (3, 4, 1, "4"), (24, 2, 5, "20 or 30"), (24, 4, 3, None), (128, 1, 1, None)],
)
def test_a_global_batch_is_divided_evenly(batch: int, workers: int, parts: int, nearest: str | None) -> None:
    if nearest is None:
        check_batch(batch, workers, parts)
        return
    with pytest.raises(UserError, match=f"global_batch: {batch} cannot be divided .*; nearest: {nearest}$"):
        check_batch(batch, workers, parts)
