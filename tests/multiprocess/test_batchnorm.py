"""Evaluation after a short run measures what was learned, not the initial moving statistics."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from trainer.config import ModelConfig, OptimizerConfig, TrainingConfig
from trainer.job import run
from trainer.job_folder.checkpoint import WEIGHTS
from trainer.network.batchnorm import PreciseStatistics, batchnorm_layers, set_momentum
from trainer.network.classifier import Classifier, Geometry, build_classifier, moving_statistics
from trainer.network.freezing import freeze
from trainer.network.weights import load_arrays
from trainer.optimizer.build import build_optimizer
from trainer.optimizer.ema import RUNNING
from trainer.scoring.metrics import accuracy, negative_log_likelihood
from trainer.training.state import saved_variables
from trainer.training.step import TrainStep
from trainer.world import World

CLASSES, STEPS = 4, 25


def striped() -> tuple[np.ndarray, np.ndarray]:
    """Pages uint8 [32, 32, 32, 1] of four patterns and noise, and their classes int32 [32]."""
    random = np.random.default_rng(5)
    labels = np.arange(32, dtype=np.int32) % CLASSES
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    patterns = np.stack([rows % 4 < 2, columns % 4 < 2, (rows + columns) % 4 < 2, rows % 8 < 4])
    pages = 180 * patterns[labels] + random.integers(0, 70, (32, 32, 32))
    return pages[..., None].astype(np.uint8), labels


def network(backbone: str) -> Classifier:
    import keras

    keras.utils.set_random_seed(2)
    config = ModelConfig(backbone=backbone, weights="none", dense=(), dropout=0.0)
    return build_classifier(config, Geometry(32, 32, 1, 32), classes=CLASSES)


def evaluated(classifier: Classifier) -> tuple[float, float]:
    """Loss and accuracy on the pages."""
    images, labels = striped()
    softmax = np.asarray(classifier.model(images, training=False))
    return negative_log_likelihood(labels, softmax), accuracy(labels, softmax)


def test_a_short_run_is_evaluated_as_it_was_trained() -> None:
    """First the artifact, with MobileNetV2's momentum of 0.999, then the same weights without it."""
    classifier, world = network("MobileNetV2"), World.start()
    optimizer = build_optimizer(OptimizerConfig(name="adam", learning_rate=1e-3))
    step = TrainStep(classifier, optimizer, world, TrainingConfig())
    images, labels = striped()
    for _ in range(STEPS):
        step.write_sums(np.zeros(3))
        step(images, labels)
    learnt, correct, pages = step.read_sums()
    assert (learnt / pages < 0.1, correct) == (True, pages), "it has learned all of its pages"
    assert evaluated(classifier)[1] < 0.5
    trained = {v.path: v.numpy().copy() for v in classifier.model.trainable_variables}
    PreciseStatistics(classifier, world).update([images])
    loss, share = evaluated(classifier)
    assert (loss < 0.1, share) == (True, 1.0)
    assert all(np.array_equal(v.numpy(), trained[v.path]) for v in classifier.model.trainable_variables)


def test_the_statistics_are_those_of_all_pages() -> None:
    """In the first layer, whose input does not depend on the batch, for any division into batches."""
    import keras

    found = []
    images, _ = striped()
    for parts in (1, 4):
        classifier = network("SmallConvNet")
        PreciseStatistics(classifier, World.start()).update(np.split(images, parts))
        layer = batchnorm_layers(classifier)[0]
        found.append((layer.moving_mean.numpy(), layer.moving_variance.numpy()))
    seen = keras.Model(classifier.backbone.input, layer.input)
    pages = images.repeat(3, axis=-1).astype(np.float32) / 127.5 - 1
    inside = np.asarray(seen(pages), np.float64).reshape(-1, 16)
    for mean, variance in found:
        np.testing.assert_allclose(mean, inside.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(variance, inside.var(axis=0), rtol=1e-3, atol=1e-5)


def test_frozen_layers_keep_their_statistics_and_momentum_stays() -> None:
    classifier = network("SmallConvNet")
    set_momentum(classifier, 0.97)
    freeze(classifier, {"backbone/batch_normalization", "backbone/batch_normalization_1"})
    frozen = [v for layer in classifier.backbone.layers[:7] for v in layer.non_trainable_variables]
    before = [v.numpy().copy() for v in frozen]
    moving = {v.path: v.numpy().copy() for v in moving_statistics(classifier)}
    PreciseStatistics(classifier, World.start()).update([striped()[0]])
    assert all(np.array_equal(v.numpy(), old) for v, old in zip(frozen, before, strict=True))
    assert len(moving) == 6
    assert not [v.path for v in moving_statistics(classifier) if np.array_equal(v.numpy(), moving[v.path])]
    assert {layer.momentum for layer in batchnorm_layers(classifier)} == {0.97}


def test_averaged_weights_get_statistics_of_their_own() -> None:
    """Those of the averages are evaluated and saved; training continues with its own."""
    classifier, world = network("SmallConvNet"), World.start()
    optimizer = build_optimizer(OptimizerConfig(name="sgd", learning_rate=0.5))
    step = TrainStep(classifier, optimizer, world, TrainingConfig(), ema_decay=0.9)
    images, labels = striped()
    for _ in range(4):
        step(images, labels)
    layers = batchnorm_layers(classifier)
    paths = [layer.moving_variance.path for layer in layers]

    def variances() -> list[np.ndarray]:
        return [layer.moving_variance.numpy().copy() for layer in layers]

    own = variances()
    PreciseStatistics(classifier, world).update([images])
    of_weights = variances()
    for layer, values in zip(layers, own, strict=True):
        layer.moving_variance.assign(values)
    with step.evaluated_weights(keep=True):
        PreciseStatistics(classifier, world).update([images])
        of_averages = variances()
    saved, beside = saved_variables(step)
    for place, path in enumerate(paths):
        np.testing.assert_array_equal(layers[place].moving_variance.numpy(), own[place])
        np.testing.assert_array_equal(saved[path].numpy(), of_averages[place])
        np.testing.assert_array_equal(beside[f"{RUNNING}{path}"].numpy(), own[place])
    assert not np.allclose(of_averages[-1], of_weights[-1], rtol=1e-3), "other weights, other statistics"


def test_both_settings_reach_the_job_and_change_statistics_alone(tiny: Path, tmp_path: Path) -> None:
    choices = {"own": (None, 0), "shorter": (0.5, 0), "precise": (None, 16)}
    found = {}
    for name, (momentum, batches) in choices.items():
        settings = [f"model.batchnorm_momentum={momentum or 'null'}", f"training.batchnorm_batches={batches}"]
        config = load_config(str(tiny), ["stages.holistic_16.epochs=1", *settings])
        job = plan_recipe(config).of_stage("holistic_16", None)
        result = run(payload(job, tmp_path / name))
        found[name] = load_arrays(tmp_path / name / "jobs" / job.name / result["best_checkpoint"] / WEIGHTS)
    kinds = {name: "moving" in name for name in found["own"] if "seed" not in name}
    assert sum(kinds.values()) == 10
    for one, other in (("own", "shorter"), ("own", "precise"), ("shorter", "precise")):
        differ = {name for name in kinds if not np.array_equal(found[one][name], found[other][name])}
        assert differ == {name for name, moving in kinds.items() if moving}, (one, other)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (ModelConfig, {"batchnorm_momentum": 1.0}, "batchnorm_momentum: must be at least 0 and less than 1"),
        (TrainingConfig, {"batchnorm_batches": -1}, "batchnorm_batches: must not be negative"),
    ],
)
def test_invalid_settings(kind: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        kind(**settings)
