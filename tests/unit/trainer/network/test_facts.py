"""Counts of networks against published figures, and the table of backbones against built ones."""

from math import prod

import pytest

from data_tools.errors import UserError
from data_tools.files import read_json
from trainer.config import ModelConfig
from trainer.network.backbones import backbone_names
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.facts import TABLE, BackboneFacts, at_size, backbone_facts, facts_of_model


@pytest.mark.parametrize(
    ("backbone", "px", "parameters", "statistics", "multiply_adds"),
    [
        # What Keras' own table gives without the top, and 300 million multiply-adds (Sandler et al. 2018).
        ("MobileNetV2", 224, 2_223_872, 34_112, 0.30e9),
        ("SmallConvNet", 32, None, 2 * (16 + 32 + 64 + 64 + 128), None),
    ],
)
def test_facts_of_a_network(
    backbone: str, px: int, parameters: int | None, statistics: int, multiply_adds: float | None
) -> None:
    config = ModelConfig(backbone=backbone, weights="none", dense=())
    facts = facts_of_model(config, Geometry(px, px, 3, px), classes=16)
    assert facts.statistics == statistics
    if parameters is not None and multiply_adds is not None:
        assert facts.parameters == parameters + 1280 * 16 + 16
        assert facts.multiply_adds == pytest.approx(multiply_adds, rel=0.01)
        half = facts_of_model(config, Geometry(2 * px, 2 * px, 3, px), classes=16)
        assert half.multiply_adds == facts.multiply_adds, "the reduction to image_px has no kernels"


def test_a_listed_backbone_equals_a_built_one() -> None:
    listed = read_json(TABLE)["MobileNetV2"]["128x128"]
    assert BackboneFacts(**listed) == backbone_facts("MobileNetV2", 128, 128)


@pytest.mark.parametrize(
    ("backbone", "height", "width", "multiply_adds"),
    [
        # What `backbone_facts` counts, in seconds each.
        ("SmallConvNet", 16, 16, 838_656),
        ("SmallConvNet", 64, 48, 10_063_872),
        ("MobileNetV2", 224, 224, 299_494_272),
        ("ResNet50", 384, 300, 9_036_521_472),
        ("InceptionResNetV2", 192, 192, 4_491_040_608),
        ("InceptionResNetV2", 299, 299, 13_154_258_016),
    ],
)
def test_other_sizes_follow_from_the_listed_ones(backbone: str, height: int, width: int, multiply_adds: int) -> None:
    known = {size: BackboneFacts(**facts) for size, facts in read_json(TABLE)[backbone].items()}
    found = at_size(known, height, width)
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=0.06)
    assert found.parameters == known["128x128"].parameters


def test_a_size_that_a_listed_backbone_cannot_process() -> None:
    with pytest.raises(UserError, match=r"InceptionResNetV2.*75"):
        facts_of_model(ModelConfig(weights="none"), Geometry(64, 64, 1, 64), classes=16)


def test_the_head_is_counted() -> None:
    config, geometry = ModelConfig(backbone="SmallConvNet", weights="none", dense=(40, 30)), Geometry(128, 128, 1, 128)
    classifier = build_classifier(config, geometry, classes=7)
    facts = facts_of_model(config, geometry, classes=7)
    assert facts.parameters == sum(prod(variable.shape) for variable in classifier.model.trainable_variables)
    assert facts.multiply_adds - backbone_facts("SmallConvNet", 128, 128).multiply_adds == 128 * 40 + 40 * 30 + 30 * 7


def test_every_listed_backbone_exists() -> None:
    assert sorted(read_json(TABLE)) == backbone_names()
