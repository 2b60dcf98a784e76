"""The presets are the recipe: the resolved configuration has every figure of its table."""

from typing import Any

import numpy as np
import pytest

from data_tools.documents.regions import Box
from data_tools.errors import UserError
from launch.config import Config, config_from, load_config, preset_names, resolved
from launch.recipe.stages import Recipe, plan_recipe
from trainer.stack.mlp import starting_mlp

SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "nesterov": False}
ADAM = {"name": "adam", "learning_rate": 1e-4}
PLATEAU = {"patience": 2, "factor": 0.9}

# stage, region, px, start, optimizer, plateau, epochs, global batch (Das et al. 2018 and the post built on it)
RECIPE = [
    ("holistic_128", "holistic", 128, "weights", SGD, PLATEAU, 30, 128),
    ("holistic_256", "holistic", 256, "holistic_128", SGD, PLATEAU, 20, 128),
    ("regions", "each", 256, "holistic_256", ADAM, None, 5, 128),
]


@pytest.mark.parametrize("preset", ["rvl_cdip", "das2018"])
@pytest.mark.parametrize(("name", "region", "px", "start", "optimizer", "plateau", "epochs", "batch"), RECIPE)
def test_every_figure_of_the_recipe(
    preset: str, name: str, region: str, px: int, start: str, optimizer: Any, plateau: Any, epochs: int, batch: int
) -> None:
    stage = resolved(load_config(preset))["stages"][name]
    assert (stage["region"], stage["image_px"], stage["start"]) == (region, px, start)
    assert (stage["epochs"], stage["global_batch"]) == (epochs, batch)
    assert {key: stage["optimizer"][key] for key in optimizer} == optimizer
    assert (stage["optimizer"]["reference_batch"], stage["optimizer"]["warmup_epochs"]) == (None, 0.0)
    assert (stage["freeze"], stage["head_epochs"]) == ([], 0), "no layer is frozen"
    assert (stage["plateau"] and {key: stage["plateau"][key] for key in PLATEAU}) == plateau


def test_the_rest_of_the_recipe() -> None:
    config = load_config("rvl_cdip")
    assert list(config.stages) == ["holistic_128", "holistic_256", "regions"]
    assert (config.model.backbone, config.model.weights) == ("InceptionResNetV2", "imagenet")
    assert len(config.model.dense) == 2
    assert (config.shards.height, config.shards.width, config.shards.color) == (256, 256, False)
    assert config.data.max_per_class == 10_000
    assert (config.stack.method, config.stack.epochs, config.stack.hidden) == ("mlp", 20, None)
    mlp = starting_mlp(np.ones(len(plan().members)), 16, config=config.stack, seed=config.seed)
    assert [array.shape for array in mlp.arrays()] == [(5 * 16, 64), (64,), (64, 16), (16,)], "two layers"
    assert config.stack.leak_free is False, "the source picks epochs and trains the stack on the same pages"
    names = config.data.class_names
    assert isinstance(names, tuple)
    assert (len(names), names[0], names[4], names[15]) == (16, "letter", "advertisement", "memo")


def test_regions_of_both_sources() -> None:
    assert load_config("rvl_cdip").boxes == {
        "holistic": Box(0, 0, 1, 1),
        "top": Box(0, 0, 1, 0.5),
        "bottom": Box(0, 0.5, 1, 1),
        "left": Box(0, 0, 0.5, 1),
        "right": Box(0.5, 0, 1, 1),
    }
    assert load_config("das2018").boxes == {
        "holistic": Box(0, 0, 1, 1),
        "header": Box(0, 0, 1, 0.328),
        "footer": Box(0, 0.672, 1, 1),
        "left_body": Box(0, 0.244, 0.5, 0.756),
        "right_body": Box(0.5, 0.244, 1, 0.756),
    }


@pytest.mark.parametrize("preset", preset_names())
def test_a_resolved_configuration_loads_as_itself(preset: str) -> None:
    config = load_config(preset)
    assert config_from(resolved(config)) == config


def plan(*assignments: str) -> Recipe:
    return plan_recipe(load_config("rvl_cdip", assignments))


def test_the_plan_of_the_recipe() -> None:
    recipe = plan()
    assert [(job.name, job.region, job.start_job) for job in recipe.jobs] == [
        ("holistic_128", "holistic", None),
        ("holistic_256", "holistic", "holistic_128"),
        ("top", "top", "holistic_256"),
        ("bottom", "bottom", "holistic_256"),
        ("left", "left", "holistic_256"),
        ("right", "right", "holistic_256"),
    ]
    assert recipe.members == ("holistic_256", "top", "bottom", "left", "right")


@pytest.mark.parametrize(
    ("assignments", "members"),
    [
        (["regions={strip: [0, 0.4, 1, 0.6]}"], ("holistic_256", "strip")),
        (["stages.regions=null"], ("holistic_256",)),
        (
            ["stages.holistic_256=null", "stages.regions.start=holistic_128"],
            ("holistic_128", "top", "bottom", "left", "right"),
        ),
        # a second round of region training starts each region from itself
        (["stages.again={region: each, start: regions}"], ("holistic_256", "top", "bottom", "left", "right")),
        # one region alone
        (["stages.regions.region=top"], ("holistic_256", "regions")),
    ],
)
def test_other_recipes(assignments: list[str], members: tuple[str, ...]) -> None:
    assert plan(*assignments).members == members


def test_a_second_round_starts_each_region_from_itself() -> None:
    recipe = plan("stages.again={region: each, start: regions}")
    assert [(job.name, job.start_job) for job in recipe.jobs][2:] == [
        ("regions_top", "holistic_256"),
        ("regions_bottom", "holistic_256"),
        ("regions_left", "holistic_256"),
        ("regions_right", "holistic_256"),
        ("top", "regions_top"),
        ("bottom", "regions_bottom"),
        ("left", "regions_left"),
        ("right", "regions_right"),
    ]


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["stages.holistic_256.start=holistic_64"], ["stages.holistic_256.start", "holistic_128"]),
        (["stages.holistic_128.start=holistic_256"], ["stages.holistic_128.start", "cycle"]),
        (["stages.regions.region=middle"], ["stages.regions.region", "middle", "each"]),
        (["regions=thirds"], ["thirds", "halves"]),
        (["regions={holistic: [0, 0, 1, 1]}"], ["holistic"]),
        (["regions={top: [0, 0, 1, 2]}"], ["regions.top"]),
        (["regions={holistic_128: [0, 0, 1, 1]}"], ["two jobs"]),
        (["regions={stack: [0, 0, 1, 1]}"], ["two jobs"]),
        (["stages.holistic_128.epoch=3"], ["stages.holistic_128.epoch", "did you mean epochs"]),
        (["stages.holistic_128.optimizer.name=adam", "stages.holistic_128.optimizer.momentum=0.9"], ["momentum"]),
        (["stages.holistic_128.plateau.factor=1.5"], ["stages.holistic_128.plateau.factor"]),
        (["model.dropout=1.0"], ["model.dropout"]),
        (["stages=null"], ["stages"]),
    ],
)
def test_recipes_that_cannot_be_planned(assignments: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        plan(*assignments)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stages_may_be_in_any_order() -> None:
    late = plan("stages.holistic_512={start: holistic_256}", "stages.regions.start=holistic_512")
    assert [job.name for job in late.jobs][:4] == ["holistic_128", "holistic_256", "holistic_512", "top"]
    assert late.members[0] == "holistic_512"


def test_a_stage_is_found_by_its_name_and_region() -> None:
    recipe = plan()
    assert recipe.of_stage("holistic_128", None).name == "holistic_128"
    assert recipe.of_stage("regions", "left").name == "left"
    with pytest.raises(UserError, match="add --region"):
        recipe.of_stage("regions", None)
    with pytest.raises(UserError, match="no such stage"):
        recipe.of_stage("holistic_512", None)


def test_a_file_on_a_preset(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: rvl_cdip\ndata: {root: pages}\nstages: {regions: {epochs: 7}}\n")
    config: Config = load_config(str(path), ["stages.regions.global_batch=32"])
    assert config.data.root == "pages"
    assert (config.stages["regions"].epochs, config.stages["regions"].global_batch) == (7, 32)
    assert config.stages["regions"].image_px == 256, "the preset decides what the file leaves out"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("preset: rvl\n", ["preset", "rvl_cdip"]),
        ("sead: 3\n", ["sead", "did you mean seed?"]),
        ("data: {root: x}\n", ["data.train"]),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Any, content: str, words: list[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_config(str(path))
    for word in words:
        assert word in str(caught.value)


def test_neither_file_nor_preset() -> None:
    with pytest.raises(UserError, match="demo"):
        load_config("dem")
