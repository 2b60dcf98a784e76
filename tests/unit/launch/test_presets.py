"""Every preset loads and plans; the ones that depart from the published recipe do so as their descriptions say."""

from pathlib import Path

import pytest

from launch.cli import build_parser
from launch.config import config_from, load_config, preset_names, resolved
from launch.recipe.stages import plan_recipe
from trainer.network.backbones import check_size
from trainer.network.classifier import Geometry

CONFIGURATION = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("preset", preset_names())
def test_it_loads_and_plans(preset: str) -> None:
    config = load_config(preset)
    assert config_from(resolved(config)) == config
    recipe = plan_recipe(config)
    regions = [name for name in config.boxes if name != "holistic"]
    assert [job.region for job in recipe.jobs if job.region != "holistic"] == regions, "one job a region"
    for job in recipe.jobs:
        geometry = Geometry(config.shards.height, config.shards.width, 1, job.stage.image_px)
        check_size(config.model.backbone, *geometry.size)
        assert job.stage.global_batch % 8 == 0, "a host of eight GPUs divides the batch"


@pytest.mark.parametrize("preset", preset_names())
def test_it_is_listed_in_the_help_and_the_documentation(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["convert", "--help"])
    assert f" {preset}" in " ".join(capsys.readouterr().out.split())
    assert f"| {preset} |" in CONFIGURATION


@pytest.mark.parametrize(("preset", "sizes"), [("small_data", [128]), ("rvl_cdip_best", [128, 256, 384])])
def test_sizes_grow_and_regions_start_from_the_largest_page(preset: str, sizes: list[int]) -> None:
    recipe = plan_recipe(load_config(preset))
    pages = [job for job in recipe.jobs if job.region == "holistic"]
    assert [job.stage.image_px for job in pages] == sizes
    assert [job.start_job for job in pages] == [None, *(job.name for job in pages[:-1])]
    regions = [job for job in recipe.jobs if job.region != "holistic"]
    assert {job.start_job for job in regions} == {pages[-1].name}
    assert pages[-1].name in recipe.members
    assert set(recipe.members) == {pages[-1].name, *(job.name for job in regions)}


def test_what_the_large_one_departs_in_from_the_published_recipe() -> None:
    config = load_config("rvl_cdip_best")
    for stage in config.stages.values():
        assert (stage.schedule, stage.optimizer.name) == ("cosine", "adamw")
        assert stage.optimizer.warmup_epochs > 0
        assert stage.augment.active
    assert config.training.label_smoothing == 0.1
    assert (config.stack.method, config.stack.input, config.stack.logistic_l2) == ("logistic", "log", None)
    assert config.training.views.count == 1
    assert config.data.max_per_class is None


def test_what_the_small_one_departs_in_from_the_published_recipe() -> None:
    config = load_config("small_data")
    for stage in config.stages.values():
        assert stage.optimizer.ema_decay is not None
        assert stage.augment.active
        assert not stage.augment.mixes
    assert config.training.label_smoothing == 0.1
    assert (config.stack.method, config.stack.input) == ("weighted", "log")
    assert config.training.views.count == 1


def test_the_small_one_has_quick_statistics_and_suits_two_cores() -> None:
    config = load_config("small_data")
    assert (config.model.backbone, config.model.batchnorm_momentum) == ("MobileNetV2", 0.9)
    work = sum(stage.epochs * stage.image_px**2 * (4 if stage.region == "each" else 1) for stage in
               config.stages.values())  # fmt: skip
    pages_per_s = 45 * 128**2  # at 128 px on two cores; `regionstack plan` measured 24 on one core of a busy machine
    evaluations = 1.15
    assert evaluations * 1000 * work / pages_per_s < 30 * 60, "half as fast a machine takes less than an hour"


def test_the_large_one_mixes_until_the_last_size_and_scales_with_the_batch() -> None:
    stages = load_config("rvl_cdip_best").stages
    assert {name: stage.augment.mixes for name, stage in stages.items()} == {
        "holistic_128": True, "holistic_256": True, "holistic_384": False, "regions": False,
    }  # fmt: skip
    assert {stage.optimizer.reference_batch for stage in stages.values()} == {256}
    rates = [stage.optimizer.learning_rate for name, stage in stages.items() if stage.region == "holistic"]
    assert rates == sorted(rates, reverse=True)
