"""Steps, bytes and seconds of single jobs, against values computed by hand."""

from dataclasses import replace
from typing import Any

import pytest

from cluster.schedule.slots import Group
from launch.config import load_config
from launch.planning.cost import (
    EstimateInputs,
    JobCost,
    Machine,
    PageCounts,
    StepCost,
    training_cost,
)
from launch.planning.ring import Network
from launch.recipe.stages import plan_recipe
from tests.unit.launch.planning.groups import group
from trainer.config import ViewsConfig
from trainer.network.facts import ModelFacts

PAGES = PageCounts(train=1000, val=100, test=200, record_bytes=50)
MODEL = ModelFacts(parameters=200, statistics=50, multiply_adds=1e9)
STEPS = {128: StepCost(0.1, 0.01, 0.005), 256: StepCost(0.1, 0.04, 0.02)}
MACHINE = Machine(speed="made up", steps=STEPS, world_s=2.0, startup_s=5.0)
NETWORK = Network(
    intra_host=100, intra_host_latency_s=0, inter_host=10, inter_host_latency_s=0, cycle_s=0, buffer_bytes=1e9
)


def costed(workers: Group, machine: Machine = MACHINE, **changes: Any) -> JobCost:
    """Two epochs of holistic_128 at a global batch of 100, on `workers`."""
    config = load_config("rvl_cdip", ["stages.holistic_128.epochs=2", "stages.holistic_128.global_batch=100"])
    job = plan_recipe(config).job("holistic_128")
    job = replace(job, training=replace(job.training, batchnorm_batches=3, **changes))
    inputs = EstimateInputs(pages=PAGES, models={128: MODEL}, machine=machine, network=NETWORK)
    return training_cost(job, workers, inputs=inputs)


def test_a_job_of_one_worker() -> None:
    cost = costed(group("a"))
    assert (cost.epochs, cost.steps, cost.worker_batch, cost.gradient_bytes) == (2, 10, 100, 0)
    assert (cost.step_fixed_s, cost.step_pages_s, cost.step_allreduce_s) == (0.1, 1.0, 0.0)
    assert cost.train_s == pytest.approx(2 * 10 * 1.1)
    assert cost.evaluate_s == pytest.approx((2 * (100 + 3 * 100) + 100 + 200) * 0.005)
    assert cost.read_bytes == 50 * (2 * (1000 + 100) + 100 + 200)
    assert cost.host_read_rate == pytest.approx(100 * 50 / 1.1)
    assert cost.seconds == pytest.approx(7.0 + 22.0 + 5.5)
    assert sum(cost.breakdown().values()) == pytest.approx(cost.seconds)


def test_views_cost_in_predictions_alone() -> None:
    cost = costed(group("a"), views=ViewsConfig(shift=0.02))
    assert cost.evaluate_s == pytest.approx((2 * (100 + 3 * 100) + 5 * (100 + 200)) * 0.005)


@pytest.mark.parametrize(
    ("workers", "machine", "changes", "step"),
    [
        # compute 0.1 + 50 pages; rings of 800 and 200 bytes between two ranks: 1000 bytes at 100 per second
        (group("a", "a"), {}, {}, 0.6 + 10.0),
        (group("a", "a"), {}, {"compression": "fp16"}, 0.6 + 6.0),
        (group("a", "b"), {}, {}, 0.6 + 100.0),
        # four ranks on two cores: each at half the speed
        (group("a", "a", "a", "a"), {"cores": 2}, {}, 2 * 0.35 + 15.0),
    ],
)
def test_a_step(workers: Group, machine: dict[str, Any], changes: dict[str, Any], step: float) -> None:
    cost = costed(workers, replace(MACHINE, **machine), **changes)
    assert cost.step_s == pytest.approx(step)
    assert cost.gradient_bytes == (400 if changes else 800)
