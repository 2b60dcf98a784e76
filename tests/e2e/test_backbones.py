"""Backbones of `keras.applications`: their own input scaling, their smallest size, pages of one byte a pixel."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from trainer.config import ModelConfig
from trainer.network.backbones import SMALL, backbone_names, build_backbone, check_size, scaling, takes_bgr
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.depth import blocks, graph
from trainer.network.weights import load_backbone

# One of each family with another way of building, and the smallest input that Keras states for it.
SMALLEST = {
    "InceptionV3": 75,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "ConvNeXtTiny": 32,
    "VGG16": 32,
    "ResNet50": 32,
}


def levels() -> np.ndarray:
    """All gray levels as RGB pages, float32 [1, 16, 16, 3]."""
    return np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1).repeat(3, axis=-1)


@pytest.mark.parametrize("name", [name for name in backbone_names() if name != SMALL])
def test_scaling_is_that_of_the_weights(name: str) -> None:
    """For every name the same as `preprocess_input` of its module, on gray and on color pages."""
    import keras

    module = importlib.import_module(getattr(keras.applications, name).__module__)
    scale, offset = scaling(name, "backbone")
    if module.__name__.endswith(".efficientnet"):
        # Within the network: / 255, - mean, / sqrt(std); the weights expect (x / 255 - mean) / std.
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        inside = ((levels() * np.array(scale) + np.array(offset)) / 255 - mean) / np.sqrt(std)
        np.testing.assert_allclose(inside, (levels() / 255 - mean) / std, rtol=1e-5, atol=1e-5)
        return
    pages = levels() * np.array([1.0, 0.7, 0.4], np.float32)
    ordered = pages[..., ::-1] if takes_bgr(name) else pages
    expected = module.preprocess_input(pages.copy())
    np.testing.assert_allclose(ordered * np.array(scale) + np.array(offset), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("name", "px"), SMALLEST.items())
def test_the_smallest_input_and_one_below(name: str, px: int) -> None:
    """Keras accepts the first and not the second; `check_size` reports that before anything is built."""
    import keras

    assert build_backbone(name, (px, px, 3)).output_shape[-1] > 0
    with pytest.raises(ValueError, match=f"Input size must be at least {px}x{px}"):
        getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(px - 1, px, 3))
    with pytest.raises(UserError, match=rf"image_px: {name} cannot work at {px - 1}x{px} px, it needs {px} px"):
        check_size(name, px - 1, px)


@pytest.mark.parametrize(("name", "channels"), [("MobileNetV2", 1), ("MobileNetV2", 3), ("VGG16", 1), ("VGG16", 3)])
def test_pages_as_they_are_stored(name: str, channels: int) -> None:
    """uint8 in; the backbone sees what its own preprocessing would have made of the page."""
    import keras

    config = ModelConfig(backbone=name, weights="none", dense=())
    classifier = build_classifier(config, Geometry(32, 32, channels, 32), classes=3)
    pages = np.random.default_rng(1).integers(0, 256, (2, 32, 32, channels), np.uint8)
    inside = classifier.preprocessing(pages)
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    wide = np.broadcast_to(pages, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(inside), module.preprocess_input(wide.copy()), atol=1e-4)
    assert classifier.model(pages).shape == (2, 3)


def test_efficientnet_from_a_file_is_the_network_that_keras_builds_for_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of random weights replaces Keras' download; Keras does the rest."""
    import keras

    size = (32, 32, 3)
    random = np.random.default_rng(2)
    made = build_backbone("EfficientNetB0", size)
    mean_and_variance = [np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])]  # Keras' file holds these
    made.set_weights(
        [
            mean_and_variance.pop(0) if v.path.startswith("normalization/") and v.shape == (3,)
            else np.abs(random.normal(0.5, 0.1, v.shape)) if "variance" in v.path or "gamma" in v.path
            else random.normal(0, 0.05, v.shape)
            for v in made.weights
        ]
    )  # fmt: skip
    path = tmp_path / "efficientnet.weights.h5"
    made.save_weights(path)
    efficientnet: Any = importlib.import_module(keras.applications.EfficientNetB0.__module__)
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: str(path))
    imagenet = build_backbone("EfficientNetB0", size, weights="imagenet")

    config = ModelConfig(backbone="EfficientNetB0", weights="none", dense=())
    classifier = build_classifier(config, Geometry(32, 32, 3, 32), classes=3)
    load_backbone(classifier.backbone, path)
    features = keras.Model(classifier.model.input, classifier.backbone(classifier.preprocessing.output))
    pages = random.integers(0, 256, (4, *size), np.uint8)
    expected = np.asarray(imagenet(pages.astype(np.float32), training=False))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(np.asarray(features(pages, training=False)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("MobileNetV2", 19, "Conv1", "Conv_1"),
        ("MobileNetV3Small", 13, "conv", "conv_1"),
        ("EfficientNetB0", 18, "normalization", "top_conv"),
        ("ResNet50V2", 17, "conv1_conv", "conv5_block3_preact_bn"),
        ("NASNetMobile", 17, "stem_conv1", "adjust_conv_projection_12"),
        ("InceptionResNetV2", 49, "conv2d", "conv_7b"),
    ],
)
def test_blocks_for_layerwise_rates(name: str, count: int, first: str, last: str) -> None:
    """Each block holds its BatchNorm layers, so a kernel and its scale move at one rate."""
    import keras

    keras.utils.clear_session(free_memory=False)
    backbone = build_backbone(name, (96, 96, 3))
    weighted = {layer.name: layer for layer in backbone.layers if layer.weights}
    found = [[name for name in block if name in weighted] for block in blocks(graph(backbone))]
    assert sorted(name for block in found for name in block) == sorted(weighted)
    assert (len(found), found[0][0], found[-1][0]) == (count, first, last)
    for block in found:
        assert any(len(v.shape) > 1 for name in block for v in weighted[name].weights), block
