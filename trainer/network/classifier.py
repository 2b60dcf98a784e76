"""The page classifier: uint8 pages in, class probabilities out; scaling and widening happen inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_tools.errors import UserError
from trainer.config import ModelConfig
from trainer.network.area import reduce_by_area
from trainer.network.backbones import build_backbone, scaling, takes_bgr
from trainer.network.weights import is_seed


@dataclass(frozen=True)
class Geometry:
    """Size of the stored pages (height and width in px, channels) and the height that the model works at, px."""

    height: int
    width: int
    channels: int
    image_px: int

    @property
    def factor(self) -> int | None:
        """Integer factor by which the model reduces both sides of the stored page; None: there is no such factor."""
        factor, rest = divmod(self.height, self.image_px)
        return None if rest or self.width % max(factor, 1) else factor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px, that the model works at; the width keeps the stored aspect to the nearest pixel.

        Raises:
            UserError: `image_px` is larger than the stored height.
        """
        if self.image_px > self.height:
            raise UserError(
                f"image_px: {self.image_px} is more than the height of the stored pages, {self.height} px; set at most "
                f"{self.height}, or convert the pages again at a larger size"
            )
        return self.image_px, max(1, (2 * self.width * self.image_px + self.height) // (2 * self.height))


@dataclass(frozen=True)
class Classifier:
    """One network as two Keras models with shared weights: `model` returns probabilities, `logits` the softmax's input.

    Both map uint8 [b, height, width, channels] to float32 [b, classes]. `preprocessing` maps the same pages to the
    backbone's input, float32 [b, height', width', 3].
    """

    model: Any
    logits: Any
    backbone: Any
    preprocessing: Any = None


def build_classifier(config: ModelConfig, geometry: Geometry, *, classes: int) -> Classifier:
    """Build the network; its variables have the same names each time it is built in a process.

    Raises:
        UserError: an unknown backbone, or a geometry that it cannot process.
    """
    import keras

    # Keras numbers unnamed layers (conv2d_203) over the life of a process, and weights are transferred by name.
    # Resetting the numbers also resets the precision policy.
    policy = keras.mixed_precision.dtype_policy()
    keras.utils.clear_session(free_memory=False)
    keras.mixed_precision.set_dtype_policy(policy)
    layers = keras.layers
    backbone = build_backbone(config.backbone, (*geometry.size, 3))
    scale, offset = scaling(config.backbone, config.scaling)
    inputs = keras.Input((geometry.height, geometry.width, geometry.channels), dtype="uint8", name="pages")
    # Rescaling casts to its compute dtype; float32 keeps gray levels exact under mixed precision.
    x = layers.Rescaling(1.0, dtype="float32", name="to_float")(inputs)
    if geometry.factor is None:
        x = reduce_by_area(x, *geometry.size)
    elif geometry.factor > 1:  # the same function, in one fused operation
        x = layers.AveragePooling2D(geometry.factor, dtype="float32", name="reduce")(x)
    if geometry.channels == 1:
        x = _scale_and_widen(x, scale, offset)
    else:
        x = x[..., ::-1] if takes_bgr(config.backbone) and config.scaling == "backbone" else x
        x = layers.Rescaling(list(scale), list(offset), dtype="float32", name="scale")(x)
    preprocessing = keras.Model(inputs, x, name="preprocessing")
    x = layers.GlobalAveragePooling2D(name="pool")(backbone(x))
    for number, width in enumerate(config.dense, start=1):
        x = layers.Dense(width, activation="relu", name=f"dense_{number}")(x)
        x = layers.Dropout(config.dropout, name=f"dropout_{number}")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
    model = keras.Model(inputs, probabilities, name="page_classifier")
    return Classifier(model, keras.Model(inputs, logits, name="page_logits"), backbone, preprocessing)


def _scale_and_widen(x: Any, scale: Sequence[float], offset: Sequence[float]) -> Any:
    """Gray levels, float32 [b, height, width, 1], as the input of a backbone, float32 [b, height, width, 3].

    Where all three channels have one scale and offset, as in most backbones, gray levels are scaled before they are
    repeated: on a CPU, that and a tile in place of a concatenation take a quarter of the time.
    """
    import keras

    equal = len({*zip(scale, offset, strict=True)}) == 1
    if not equal:
        x = keras.ops.tile(x, (1, 1, 1, 3))
    count = 1 if equal else 3
    x = keras.layers.Rescaling(list(scale[:count]), list(offset[:count]), dtype="float32", name="scale")(x)
    return keras.ops.tile(x, (1, 1, 1, 3)) if equal else x


def moving_statistics(classifier: Classifier) -> list[Any]:
    """The Keras variables that training updates without a gradient: BatchNorm's statistics in layers not frozen."""
    layers = [*classifier.backbone.layers, *(x for x in classifier.model.layers if x is not classifier.backbone)]
    return [v for layer in layers if layer.trainable for v in layer.non_trainable_variables if not is_seed(v)]
