"""Backbones by name: all of `keras.applications`, and a small one that a CPU trains in seconds."""

import inspect
from typing import Any

from data_tools.errors import UserError

SMALL = "SmallConvNet"

# The input that each family's weights expect, as (scale, offset) per RGB channel of values 0..255; the formulas of
# `keras.applications.imagenet_utils.preprocess_input` in its modes tf, torch and caffe.
_TF = ((1 / 127.5,) * 3, (-1.0,) * 3)
_TORCH = (
    (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
)
_CAFFE = ((1.0,) * 3, (-103.939, -116.779, -123.68))
_INSIDE = ((1.0,) * 3, (0.0,) * 3)  # the network itself scales its input
# EfficientNet (not V2) divides by the square root of the standard deviation inside the network, while its weights
# expect a division by the standard deviation. Keras adds a layer for the difference only if it loads ImageNet weights
# itself. Here weights come from a file, so this scale and offset make up for it:
# ((a·x + b) / 255 - mean) / sqrt(std) = (x / 255 - mean) / std.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ROOT = (
    tuple(std**-0.5 for std in _STD),
    tuple(255 * mean * (1 - std**-0.5) for mean, std in zip(_MEAN, _STD, strict=True)),
)
_UNIT = ((1 / 255,) * 3, (0.0,) * 3)
_FAMILIES = {
    "inception_resnet_v2": _TF,
    "inception_v3": _TF,
    "xception": _TF,
    "mobilenet": _TF,
    "mobilenet_v2": _TF,
    "nasnet": _TF,
    "resnet_v2": _TF,
    "densenet": _TORCH,
    "resnet": _CAFFE,
    "vgg16": _CAFFE,
    "vgg19": _CAFFE,
    "efficientnet": _ROOT,
    "efficientnet_v2": _INSIDE,
    "convnext": _INSIDE,
    "mobilenet_v3": _INSIDE,
}


SMALLEST_PX = {SMALL: 16, "InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
"""Smallest input side, px, of backbones that differ from `DEFAULT_SMALLEST_PX`; Keras checks it only on building."""
DEFAULT_SMALLEST_PX = 32


def check_size(name: str, height: int, width: int) -> None:
    """Check that the backbone accepts inputs of `height` x `width` px, without building it.

    Raises:
        UserError: the input is too small; the message states the smallest side.
    """
    smallest = SMALLEST_PX.get(name, DEFAULT_SMALLEST_PX)
    if min(height, width) < smallest:
        raise UserError(
            f"image_px: {name} cannot work at {height}x{width} px, it needs {smallest} px a side; raise image_px "
            "or choose another model.backbone"
        )


def backbone_names() -> list[str]:
    """Names that `build_backbone` accepts."""
    import keras

    public = vars(keras.applications).items()
    return sorted([name for name, item in public if inspect.isfunction(item)] + [SMALL])


def scaling(name: str, choice: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(scale, offset) per RGB channel from values 0..255 to the backbone's input. choice: `model.scaling`.

    Raises:
        UserError: the scaling of this backbone is unknown; set `model.scaling: unit`.
    """
    if choice == "unit":
        return _UNIT
    if name == SMALL:
        return _TF
    if _family(name) not in _FAMILIES:
        raise UserError(f"model.scaling: the scaling that {name} expects is unknown; set model.scaling: unit")
    return _FAMILIES[_family(name)]


def takes_bgr(name: str) -> bool:
    """Whether the backbone's weights expect channels in the order blue, green, red."""
    return name != SMALL and _FAMILIES.get(_family(name)) is _CAFFE


def _family(name: str) -> str:
    return str(_function(name).__module__.rpartition(".")[2])


def build_backbone(name: str, shape: tuple[int, int, int], *, weights: str | None = None) -> Any:
    """The backbone as a Keras model: float [b, height, width, 3] to features [b, height', width', channels].

    shape: (height, width, 3); weights: as in `keras.applications`.

    Raises:
        UserError: an unknown name, or an input that is too small for the backbone.
    """
    check_size(name, *shape[:2])
    if name == SMALL:
        return _small(shape)
    return _function(name)(include_top=False, weights=weights, input_shape=shape)


def _function(name: str) -> Any:
    import keras

    function = getattr(keras.applications, name, None)
    if not inspect.isfunction(function):
        raise UserError(f"model.backbone: {name} is unknown; use one of {', '.join(backbone_names())}")
    return function


def _small(shape: tuple[int, int, int]) -> Any:
    """Five convolution blocks, 0.2 M parameters.

    BatchNorm has momentum 0.9, so that its statistics forget their initial values within a short run.
    """
    import keras

    layers = keras.layers
    inputs = x = keras.Input(shape)
    for width, stride in ((16, 2), (32, 2), (64, 1), (64, 2), (128, 1)):
        x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    return keras.Model(inputs, x, name=SMALL.lower())
