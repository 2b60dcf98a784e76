"""Random generators: the masks of seeds, jobs, ranks and resumed jobs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainer.config import CheckpointConfig, JobConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.training.state import seed_generators

CONFIG = JobConfig(
    name="top",
    stage_name="regions",
    region="top",
    shards="shards",
    seed=1,
    stage=StageConfig(),
    model=ModelConfig(),
    training=TrainingConfig(),
    checkpoint=CheckpointConfig(),
)


def masks(config: JobConfig, rank: int = 0, *, drawn: int | None = None, draws: int = 1) -> np.ndarray:
    """The last of `draws` dropout masks of each of two layers, bool [2, 64]; drawn: masks drawn before resuming."""
    import keras

    from trainer.network.weights import is_seed

    keras.utils.clear_session(free_memory=False)
    layers = [keras.layers.Dropout(0.5, name=f"dropout_{number}") for number in (1, 2)]
    inputs = keras.Input((64,))
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    counters = None if drawn is None else {v.path: drawn for v in model.variables if is_seed(v)}
    seed_generators(model.variables, config, rank=rank, counters=counters)
    for _ in range(draws):
        outputs: Any = model(np.ones((1, 64), np.float32), training=True)
    return np.concatenate([np.asarray(output) > 0 for output in outputs])


@pytest.mark.parametrize("change", [{"seed": 2}, {"name": "bottom"}], ids=str)
def test_another_seed_or_job_draws_other_masks(change: dict[str, Any]) -> None:
    assert (masks(CONFIG) != masks(replace(CONFIG, **change))).any()


def test_ranks_and_layers_draw_masks_of_their_own() -> None:
    first, second = masks(CONFIG, rank=0), masks(CONFIG, rank=1)
    assert (first != second).any(axis=1).all()
    assert (first[0] != first[1]).any()


def test_the_same_seed_job_and_rank_draw_the_same_masks() -> None:
    np.testing.assert_array_equal(masks(CONFIG, rank=3), masks(CONFIG, rank=3))


def test_a_resumed_generator_continues_with_the_next_mask() -> None:
    np.testing.assert_array_equal(masks(CONFIG, drawn=2), masks(CONFIG, draws=3))
    assert (masks(CONFIG, drawn=2) != masks(CONFIG)).any()


def test_large_seeds_and_ranks_fit_a_generator() -> None:
    assert masks(replace(CONFIG, seed=2**63), rank=100_000).any()
