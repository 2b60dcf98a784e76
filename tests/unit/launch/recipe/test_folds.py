"""Folds in the plan: which jobs there are, what each starts from, and that none has seen a page that it predicts."""

from itertools import product

import numpy as np
import pytest

from data_tools.errors import UserError
from launch.config import load_config
from launch.recipe.jobs import job_specs
from launch.recipe.stages import Recipe, plan_recipe
from trainer.training.split import fold_of

IDS = [f"{number}.tif" for number in range(60)]
LABELS = np.arange(60) % 4


def plan(*assignments: str) -> Recipe:
    return plan_recipe(load_config("rvl_cdip", ["stack.folds=3", *assignments]), weights_file="start.h5")


def test_without_folds_the_plan_is_the_recipe() -> None:
    recipe = plan_recipe(load_config("rvl_cdip"))
    assert all(job.fold is None for job in recipe.jobs)
    assert recipe.fold_jobs == {}


@pytest.mark.parametrize("members", ["retrained", "average"])
def test_every_job_once_for_each_fold(members: str) -> None:
    recipe = plan(f"stack.members={members}")
    folded = [job for job in recipe.jobs if job.fold is not None]
    assert {(job.name, job.region) for job in folded if job.stage_name == "regions"} == {
        (f"{region}_fold{number}", region) for region, number in product(("top", "bottom", "left", "right"), (1, 2, 3))
    }
    assert len(folded) == 3 * 6
    plain = [job.name for job in recipe.jobs if job.fold is None]
    expected = ["holistic_128", "holistic_256", "top", "bottom", "left", "right"]
    assert plain == (expected if members == "retrained" else []), "an average is of jobs, and has none"
    assert recipe.members == ("holistic_256", "top", "bottom", "left", "right")
    assert recipe.fold_jobs["left"] == ("left_fold1", "left_fold2", "left_fold3")


def test_a_fold_starts_from_its_own_fold_and_shares_only_the_start_weights() -> None:
    for job in plan().jobs:
        if job.fold is not None and job.start_job is not None:
            assert job.start_job.endswith(f"_fold{job.fold.number}")
            assert job.weights_file is None
        if job.stage_name == "holistic_128":
            assert (job.start_job, job.weights_file) == (None, "start.h5")


def seen_by(recipe: Recipe, name: str) -> set[str]:
    """The training pages that the job, or a job that its weights come from, has trained on."""
    job = recipe.job(name)
    seen = set(IDS)
    if job.fold is not None:
        fold = fold_of(IDS, LABELS, folds=job.fold.of, seed=job.seed)
        seen = {page_id for page_id, own in zip(IDS, fold.tolist(), strict=True) if own != job.fold.number - 1}
    return seen | (seen_by(recipe, job.start_job) if job.start_job else set())


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["stack.members=average"],
        ["stages.again={region: each, start: regions}"],  # a second round of region training
        ["stages.regions.start=weights"],
        ["stages.holistic_256=null", "stages.regions.start=holistic_128"],
        ["regions={strip: [0, 0.4, 1, 0.6]}", "stack.folds=5"],
    ],
)
def test_no_page_is_predicted_by_a_job_that_has_seen_it(more: list[str]) -> None:
    recipe = plan(*more)
    for member in recipe.members:
        predicted: list[str] = []
        for name in recipe.fold_jobs[member]:
            held_out = set(IDS) - seen_by(recipe, name)
            assert held_out, "with all that its weights come from, the job still has pages to predict"
            assert recipe.job(name).region == recipe.job(recipe.fold_jobs[member][0]).region
            predicted += held_out
        assert sorted(predicted) == sorted(IDS), "every page once"


def test_the_stack_waits_for_all_that_it_reads_and_regions_run_side_by_side() -> None:
    config = load_config("rvl_cdip", ["stack.folds=2", "cluster.workers_per_region=2"])
    recipe = plan_recipe(config)
    specs = {spec.name: spec for spec in job_specs(config, recipe, recipe.job_names)}
    read = {"holistic_256", "top", "bottom", "left", "right"}
    read |= {f"{name}_fold{number}" for name in read for number in (1, 2)}
    assert set(specs["stack"].depends_on) == read
    assert specs["stack"].payload["fold_jobs"]["top"] == ["top_fold1", "top_fold2"]
    assert specs["top_fold2"].depends_on == ("holistic_256_fold2",)
    assert {specs[name].workers for name in read} == {2}
    assert specs["top_fold1"].work == specs["top"].work / 2, "it trains on half of the pages"


def test_a_stage_by_hand_is_the_ordinary_job_and_a_fold_by_its_name() -> None:
    recipe = plan()
    assert recipe.of_stage("holistic_128", None).name == "holistic_128"
    assert recipe.of_stage("regions", "top").name == "top"
    assert recipe.of_stage("top_fold2", None).name == "top_fold2"
    with pytest.raises(UserError, match="holistic_128_fold1"):
        plan("stack.members=average").of_stage("holistic_128", None)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["stack.folds=1"], ["stack.folds", "at least 2"]),
        (["stack.folds=-3"], ["stack.folds", "at least 2"]),
        (["stack.folds=null", "stack.members=average"], ["stack.members", "folds"]),
        (["stack.folds=null", "stack.duplicates_file=d.jsonl"], ["stack.duplicates_file", "folds"]),
        (["stack.members=both"], ["stack.members", "retrained"]),
        (["regions={top: [0, 0, 1, 0.5], top_fold2: [0, 0.5, 1, 1]}"], ["two jobs", "top_fold2"]),
    ],
)
def test_folds_that_cannot_be_planned(assignments: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        plan(*assignments)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
