import pytest

from trainer.config import ModelConfig
from trainer.network.classifier import Geometry
from trainer.network.facts import facts_of_model


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
