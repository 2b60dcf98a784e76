"""The recommended number of workers of a stage, and how a run gets it."""

import pytest

from cluster.config import ClusterConfig
from cluster.schedule.placement import plan_workers
from cluster.schedule.slots import Host
from data_tools.errors import UserError
from launch.config import load_config
from launch.planning.assumed import recommended_workers
from launch.planning.cost import EstimateInputs, Machine, PageCounts, StepCost
from launch.planning.estimate import estimate, even_hosts
from launch.planning.recommend import Choice, StageWorkers, recommend, workers_of_jobs
from launch.planning.ring import GPU_NETWORK, Network
from launch.recipe.jobs import job_specs
from launch.recipe.stages import plan_recipe
from launch.train_all import _with_worker_limits
from trainer.job import check_batch
from trainer.network.facts import ModelFacts

SLOW = Network(intra_host=100e9, intra_host_latency_s=1e-5, inter_host=0.5e9, inter_host_latency_s=1e-4)
FREE = Network(intra_host=1e15, intra_host_latency_s=0.0, inter_host=1e15, inter_host_latency_s=0.0, cycle_s=0.0)


def inputs(network: Network, *, fixed_s: float) -> EstimateInputs:
    step = StepCost(fixed_s, 0.01, 0.003)
    facts = ModelFacts(parameters=54_000_000, statistics=60_000, multiply_adds=1e9)
    return EstimateInputs(
        pages=PageCounts(160_000, 40_000, 40_000, 65_680),
        models=dict.fromkeys((128, 256), facts),
        machine=Machine(speed="made up", steps={128: step, 256: step}, world_s=0.0, startup_s=0.0),
        network=network,
    )


@pytest.mark.parametrize(
    ("choices", "fastest", "recommended"),
    [
        ([(8, 100, 8.0)], 8, 8),
        ([(8, 100, 8.0), (4, 109, 4.4), (2, 150, 3.0)], 8, 4),
        ([(8, 100, 8.0), (4, 111, 4.4)], 8, 8),  # more than 10 % slower
        ([(8, 120, 9.6), (4, 100, 4.0), (2, 105, 2.1)], 4, 2),  # more workers are slower
        ([(8, 100, 8.0), (4, 100, 4.0)], 4, 4),  # no gain at all
    ],
)
def test_the_cheapest_of_the_nearly_fastest(
    choices: list[tuple[int, float, float]], fastest: int, recommended: int
) -> None:
    stage = StageWorkers("s", tuple(Choice(*choice) for choice in choices))
    assert (stage.fastest.workers, stage.recommended.workers) == (fastest, recommended)


def test_a_slow_network_keeps_a_stage_on_one_host_and_a_free_one_does_not() -> None:
    config = load_config("rvl_cdip")
    slow, *_ = recommend(config, even_hosts(16, 4), inputs=inputs(SLOW, fixed_s=0.0))
    free, *_ = recommend(config, even_hosts(16, 4), inputs=inputs(FREE, fixed_s=0.0))
    assert slow.stage == free.stage == "holistic_128"
    assert slow.recommended.workers == 4, "one host's GPUs"
    assert free.recommended.workers == free.fastest.workers == 16
    assert [choice.workers for choice in free.choices] == [16, 8, 4, 2, 1]


@pytest.mark.parametrize(("slots", "parts", "workers"), [(4, 1, 4), (4, 8, 3), (2, 8, 1), (4, 24, 1)])
def test_workers_divide_the_micro_batches_too(slots: int, parts: int, workers: int) -> None:
    stages = [f"stages.{name}.global_batch=24" for name in ("holistic_32", "holistic_64", "regions")]
    config = load_config("demo", [*stages, f"stages.holistic_32.micro_batches={parts}"])
    recipe = plan_recipe(config)
    planned = plan_workers([Host("one", slots)], job_specs(config, recipe, recipe.job_names))
    assert planned["holistic_32"] == workers
    check_batch(24, planned["holistic_32"], parts)


def test_region_jobs_never_get_more_than_lets_all_of_them_run_at_once() -> None:
    *_, regions = recommend(load_config("rvl_cdip"), even_hosts(16, 4), inputs=inputs(GPU_NETWORK, fixed_s=0.0))
    assert max(choice.workers for choice in regions.choices) == 4


BESIDE = ["stages.regions.start=holistic_128", "data.root=nowhere", "shards.folder=nowhere"]
"""The long whole-page stage and the region jobs are ready at the same time."""


def test_a_stage_may_have_more_workers_than_an_equal_share_beside_the_jobs_of_another() -> None:
    config = load_config("rvl_cdip", BESIDE)
    hosts, recipe = even_hosts(8), plan_recipe(config)
    found = {stage.stage: stage for stage in recommend(config, hosts, inputs=inputs(FREE, fixed_s=0.0))}
    assert found["holistic_256"].choices[0].workers == 8
    equal = estimate(config, hosts, inputs=inputs(FREE, fixed_s=0.0))
    workers = workers_of_jobs(recipe, list(found.values()))
    recommended = estimate(config, hosts, inputs=inputs(FREE, fixed_s=0.0), workers=workers)
    assert {cost.workers for cost in equal.costs[1:]} == {1}, "an equal share of eight slots for each of five jobs"
    bound = recommended.used_slot_hours * 3600 / 8
    assert recommended.seconds <= 1.1 * bound
    assert equal.seconds > 1.5 * recommended.seconds


def test_a_run_starts_its_jobs_with_the_recommended_numbers() -> None:
    config = load_config("rvl_cdip", ["cluster.workers_per_stage=auto", *BESIDE])
    hosts, recipe = even_hosts(8), plan_recipe(config)
    recommended = recommended_workers(config, hosts, gpus=True)
    specs = _with_worker_limits(config, recipe, recipe.job_names, hosts, gpus=True)
    assert plan_workers(hosts, specs) == {**recommended, "stack": 1}


@pytest.mark.parametrize("given", [1, 2])
def test_a_number_that_is_set_does_not_limit_the_recommendation(given: int) -> None:
    config = load_config("rvl_cdip", [f"cluster.workers_per_stage={{holistic_128: {given}}}"])
    first, *_ = recommend(config, even_hosts(16, 4), inputs=inputs(FREE, fixed_s=0.0))
    assert first.fastest.workers == 16


def test_numbers_by_stage_reach_the_jobs() -> None:
    config = load_config("rvl_cdip", ["cluster.workers_per_stage={holistic_128: 4, regions: 2}"])
    recipe = plan_recipe(config)
    found = {spec.name: spec.workers for spec in job_specs(config, recipe, recipe.job_names)}
    assert found == {
        "holistic_128": 4,
        "holistic_256": None,
        **dict.fromkeys(["top", "bottom", "left", "right"], 2),
        "stack": 1,
    }


def test_auto_bounds_the_jobs_of_a_run_as_a_plan_says_also_when_it_resumes() -> None:
    config = load_config("rvl_cdip", ["cluster.workers_per_stage=auto", "data.root=nowhere", "shards.folder=nowhere"])
    recipe = plan_recipe(config)
    hosts = [Host(f"host-{number}", 4) for number in range(4)]
    every = _with_worker_limits(config, recipe, recipe.job_names, hosts, gpus=True)
    rest = _with_worker_limits(config, recipe, ["holistic_256", "stack"], hosts, gpus=True)
    bounds = {spec.name: spec.max_workers for spec in every}
    assert bounds["holistic_128"] == 4 and bounds["holistic_256"] == 16 and bounds["top"] == 4
    assert {spec.name: spec.max_workers for spec in rest} == {name: bounds[name] for name in ("holistic_256", "stack")}
    assert all(spec.workers is None for spec in every if spec.name != "stack"), "fewer hosts may run them with fewer"


def test_every_worker_has_a_page_of_each_micro_batch() -> None:
    config = load_config("rvl_cdip", ["stages.holistic_128.micro_batches=32"])
    recipe, hosts = plan_recipe(config), even_hosts(16, 4)
    assert plan_workers(hosts, job_specs(config, recipe, recipe.job_names))["holistic_128"] == 4
    first, *_ = recommend(config, hosts, inputs=inputs(FREE, fixed_s=0.0))
    assert [choice.workers for choice in first.choices] == [4, 2, 1]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("workers_per_stage={holistic_128: 3}",
         r"workers_per_stage\.holistic_128: 3 workers .*128 pages.*; choose from 1, 2, 4,"),
        ("workers_per_region=6", r"workers_per_region: 6 workers .* stages\.regions .*; choose from 1, 2, 4"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_divide_the_batch(setting: str, problem: str) -> None:
    config = load_config("rvl_cdip", [f"cluster.{setting}"])
    recipe = plan_recipe(config)
    with pytest.raises(UserError, match=rf"^cluster\.{problem}"):
        job_specs(config, recipe, recipe.job_names)


def test_mistakes() -> None:
    config = load_config("rvl_cdip", ["cluster.workers_per_stage={holistic: 4}"])
    recipe = plan_recipe(config)
    with pytest.raises(UserError, match=r"cluster\.workers_per_stage\.holistic: no such stage; stages: holistic_128"):
        job_specs(config, recipe, recipe.job_names)
    with pytest.raises(UserError, match=r"workers_per_stage\.top: must be 1 or more, is 0"):
        ClusterConfig(workers_per_stage={"top": 0})
    with pytest.raises(UserError, match="workers_per_region, workers_per_stage"):
        ClusterConfig(workers_per_stage="auto", workers_per_region=2)
