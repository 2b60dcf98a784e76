"""The recipe on given hosts: groups, steps, the critical path, and where more GPUs stop paying off."""

from dataclasses import replace

import pytest

from cluster.schedule.slots import Host
from data_tools.errors import UserError
from launch.config import Config, load_config
from launch.planning.cost import EstimateInputs, Machine, PageCounts, StepCost
from launch.planning.estimate import estimate, even_hosts, last_worthwhile, scaling
from launch.planning.ring import GPU_NETWORK
from launch.planning.tables import folds_text, scaling_limit
from trainer.network.facts import ModelFacts

GPU = Machine(speed="made up", steps={128: StepCost(0.025, 0.0025, 0.001), 256: StepCost(0.025, 0.01, 0.003)})
INPUTS = EstimateInputs(
    pages=PageCounts(160_000, 40_000, 40_000, 65_680),
    models=dict.fromkeys((128, 256), ModelFacts(parameters=54_000_000, statistics=60_000, multiply_adds=1e9)),
    machine=GPU,
    network=GPU_NETWORK,
)


@pytest.fixture(scope="module")
def rvl() -> Config:
    return load_config("rvl_cdip")


def test_the_recipe_on_sixteen_gpus(rvl: Config) -> None:
    plan = estimate(rvl, even_hosts(16, 4), inputs=INPUTS)
    costs = {cost.name: cost for cost in plan.costs}
    assert list(costs) == ["holistic_128", "holistic_256", "top", "bottom", "left", "right", "stack"]
    assert [cost.workers for cost in plan.costs] == [16, 16, 4, 4, 4, 4, 1]
    assert len({plan.spans[region].start for region in ("top", "bottom", "left", "right")}) == 1, "all at once"
    assert [cost.steps * cost.epochs for cost in plan.costs] == [37_500, 25_000, 6_250, 6_250, 6_250, 6_250, 0]
    assert [len(cost.group.hosts) for cost in plan.costs] == [4, 4, 1, 1, 1, 1, 1]
    assert costs["top"].gradient_bytes == 216_000_000
    path = [cost.name for cost in plan.critical_path()]
    assert path[0] == "stack"
    assert path[2:] == ["holistic_256", "holistic_128"]
    assert sum(plan.breakdown().values()) == pytest.approx(plan.seconds)
    assert plan.used_slot_hours < plan.reserved_slot_hours == pytest.approx(16 * plan.seconds / 3600)


def test_where_more_gpus_stop_paying_off(rvl: Config) -> None:
    plans = scaling(rvl, INPUTS, max_gpus=512)
    assert [plan.slots for plan in plans] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    # The batch is 128: no stage takes more workers than that, and the regions take four times as many together.
    assert [max(cost.workers for cost in plan.costs) for plan in plans[-3:]] == [128, 128, 128]
    assert [sum(cost.workers for cost in plan.costs[2:6]) for plan in plans[-2:]] == [256, 512]
    assert next(iter(plans[0].breakdown())) == "compute"
    last = last_worthwhile(plans)
    assert last is not plans[-1]
    assert f"{last.slots} GPUs" in scaling_limit(plans)
    assert "up to 4 GPUs" in scaling_limit(plans[:3]), "no limit among 1, 2 and 4"


def test_a_batch_that_no_epoch_fills_is_rejected(rvl: Config) -> None:
    few = replace(INPUTS, pages=PageCounts(100, 10, 10, 1))
    with pytest.raises(UserError, match="global_batch: 128 is more than the 100 training pages"):
        estimate(rvl, even_hosts(1), inputs=few)


@pytest.mark.parametrize(
    ("gpus", "hosts", "slots"),
    [(1, None, [1]), (16, None, [8, 8]), (12, None, [6, 6]), (16, 4, [4, 4, 4, 4]), (7, 2, [4, 3])],
)
def test_hosts(gpus: int, hosts: int | None, slots: list[int]) -> None:
    assert [host.slots for host in even_hosts(gpus, hosts)] == slots
    assert even_hosts(1)[0] == Host("host-1", 1)


def test_folds_cost_their_share_of_the_pages(rvl: Config) -> None:
    folded = replace(rvl, stack=replace(rvl.stack, folds=5))
    plan = estimate(folded, even_hosts(16, 4), inputs=INPUTS)
    costs = {cost.name: cost for cost in plan.costs}
    assert len(costs) == 6 * 6 + 1
    assert costs["top_fold3"].steps == costs["top"].steps * 4 // 5
    assert (costs["top_fold3"].folds, costs["top"].folds) == (5, 0)
    assert costs["stack"].seconds > next(c for c in estimate(rvl, even_hosts(16, 4), inputs=INPUTS).costs
                                         if c.name == "stack").seconds  # fmt: skip
    assert "30 jobs of 5 folds" in folds_text(plan, "GPU")
    assert folds_text(estimate(rvl, even_hosts(16, 4), inputs=INPUTS), "GPU") == ""
    first = {plan.spans[f"holistic_128_fold{number}"].start for number in (1, 2, 3)}
    assert len(first) == 1, "the folds train side by side"


def test_a_batch_that_no_epoch_of_a_fold_fills_is_rejected(rvl: Config) -> None:
    few = replace(INPUTS, pages=PageCounts(200, 10, 10, 1))
    estimate(rvl, even_hosts(2), inputs=few)
    with pytest.raises(UserError, match="global_batch"):
        estimate(replace(rvl, stack=replace(rvl.stack, folds=2)), even_hosts(2), inputs=few)
