"""A model that averages over views, against the same average by hand; no second worker is needed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from data_tools.documents.pixels import warp
from data_tools.files import read_json, read_lines
from data_tools.shards.reader import ShardSet
from launch.config import Config, load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from launch.run.folder import open_run
from launch.run.views import copy_with_views
from trainer.config import ModelConfig, ViewsConfig
from trainer.job import run
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.views import View, plan_views, with_views
from trainer.scoring.predictions import read_predictions
from trainer.serving.ensemble import RegionPages, open_member

CONFIG = ViewsConfig(shift=0.05, scale=0.1)
JOB = "holistic_16"
VIEWS = "{shift: 0.05, scale: 0.05}"
SINGLE = ["stages.holistic_32px=null", "stages.regions=null", f"stages.{JOB}.epochs=1"]


def seen(page: np.ndarray, view: View) -> np.ndarray:
    """The view as the augmentation of training would make it."""
    height, width = page.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    linear = np.eye(2) / view.zoom
    shift = np.array([view.right, view.down])
    return warp(page, np.column_stack([linear, middle - linear @ (middle + shift)]), 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_average_is_that_of_the_log_probabilities_of_the_views(channels: int) -> None:
    config = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,))
    classifier = build_classifier(config, Geometry(40, 32, channels, 20), classes=5)
    for variable in classifier.model.trainable_variables:
        variable.assign(np.random.default_rng(len(variable.path)).normal(0, 0.3, variable.shape))
    pages = np.random.default_rng(1).integers(0, 256, (3, 40, 32, channels), np.uint8)
    averaged = with_views(classifier, CONFIG)
    logarithms = []
    for view in plan_views(CONFIG, 40, 32):
        views = np.stack([seen(page, view).reshape(40, 32, channels) for page in pages])
        logarithms.append(np.log(np.asarray(classifier.model(views, training=False), np.float64)))
    mean = np.exp(np.mean(logarithms, axis=0))
    expected = mean / mean.sum(axis=1, keepdims=True)
    found = np.asarray(averaged.model(pages, training=False))
    np.testing.assert_allclose(found, expected, atol=2e-2)  # OpenCV places pixels to 1/32
    plain = np.asarray(classifier.model(pages, training=False))
    assert np.abs(found - plain).max() > 1e-3, "the views count"
    assert [v.path for v in averaged.model.variables] == [v.path for v in classifier.model.variables]
    assert with_views(classifier, ViewsConfig()) is classifier


def test_a_job_predicts_over_the_views_and_its_model_is_opened_with_them(tiny: Path, tmp_path: Path) -> None:
    """Its epochs are those of a job without views; a finished job with other views only predicts again."""
    config = load_config(str(tiny), [*SINGLE, f"run.folder={tmp_path / 'plain'}"])
    plain = trained(config)
    path = copy_with_views(tmp_path / "plain", tmp_path / "copy", ViewsConfig(shift=0.05, scale=0.05))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "copy").rglob("*.safetensors")}
    copy = trained(load_config(str(path)))
    assert before and {file: file.stat().st_mtime_ns for file in before} == before, "no checkpoint was written again"
    views = trained(load_config(str(tiny), [*SINGLE, f"run.folder={tmp_path / 'views'}", f"training.views={VIEWS}"]))
    assert views.digests == plain.digests == copy.digests
    np.testing.assert_array_equal(copy.softmax, views.softmax)
    assert np.abs(views.softmax - plain.softmax).max() > 1e-4

    shards = ShardSet.open(tiny.parent / "shards" / "test" / "holistic")
    shape = (shards.manifest.height, shards.manifest.width, shards.manifest.channels)
    pages = {"holistic": RegionPages(shape, (0, 0, 1, 1))}
    member = open_member(tmp_path / "copy", JOB, pages, classes=len(shards.manifest.class_ids))
    assert member.views == 7
    order = np.argsort(shards.ids)
    found = np.asarray(member.model(shards.gather(order), training=False))
    np.testing.assert_allclose(found, copy.softmax, atol=1e-5)
    result = read_json(tmp_path / "copy" / "jobs" / JOB / "result.json")
    assert result["test_accuracy"] == pytest.approx((found.argmax(axis=1) == shards.labels[order]).mean())


class Trained(NamedTuple):
    """What a job left: the weights' digest after each epoch, and softmax of the test pages, sorted by id."""

    digests: list[str]
    softmax: np.ndarray


def trained(config: Config) -> Trained:
    """Run the job of a configuration with one stage, in the run folder that it names."""
    folder = open_run(config)
    run(payload(plan_recipe(config).of_stage(JOB, None), folder))
    rows = read_lines(folder / "jobs" / JOB / "metrics.jsonl")
    predictions = read_predictions(folder / "jobs" / JOB / "predictions" / "test.npz")
    return Trained([row["weights_digest"] for row in rows], predictions.softmax)
