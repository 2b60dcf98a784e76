"""The exported artefact as a TensorFlow module: members, stack, and the way from a page to its regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.stack.fit import FittedStack


@dataclass(frozen=True)
class Part:
    """One member: its region, that region's box (left, top, right, bottom), page shape and Keras model."""

    name: str
    region: str
    box: tuple[float, float, float, float]
    shape: tuple[int, int, int]
    model: Any


class ExportedEnsemble:
    """Builds the TensorFlow functions `page` and `regions`; see `trainer.serving.export`."""

    def __init__(self, parts: Sequence[Part], stack: FittedStack, class_names: Sequence[str]) -> None:
        """`parts` in the order of the stack's members."""
        self.parts = tuple(parts)
        self.stack = stack
        self.class_names = tuple(class_names)

    @property
    def by_region(self) -> dict[str, Part]:
        """One part for each region that some member sees."""
        return {part.region: part for part in self.parts}

    def regions(self, pages: Mapping[str, Any]) -> dict[str, Any]:
        """Probabilities by model, for uint8 [n, height, width, channels] by region."""
        import tensorflow as tf

        outputs = {part.name: part.model(pages[part.region], training=False) for part in self.parts}
        joined = tf.stack([outputs[part.name] for part in self.parts], axis=1)
        return {**outputs, "stack": stack_answer(self.stack, joined)}

    def page(self, page: Any) -> dict[str, Any]:
        """Probabilities [1, classes] by model, for one page uint8 [h, w, channels]."""
        cut = {name: cut_region(page, part.box, part.shape) for name, part in self.by_region.items()}
        return self.regions(cut)


def stack_answer(stack: FittedStack, outputs: Any) -> Any:
    """`FittedStack.probabilities` in TensorFlow: float32 [n, members, C] -> float32 [n, C]."""
    import tensorflow as tf

    outputs = tf.cast(outputs, tf.float64)
    if stack.method == "average":
        return tf.cast(tf.reduce_mean(outputs, axis=1), tf.float32)
    if stack.method == "weighted":
        logits = tf.einsum("nmc,m->nc", outputs, tf.constant(stack.member_weights))
    else:
        flat = tf.reshape(outputs, [tf.shape(outputs)[0], outputs.shape[1] * outputs.shape[2]])
        logits = _logits(stack, flat)
    return tf.cast(tf.nn.softmax(logits), tf.float32)


def _logits(stack: FittedStack, flat: Any) -> Any:
    import tensorflow as tf

    if stack.method == "logistic":
        return flat @ tf.constant(stack.kernel) + tf.constant(stack.bias)
    hidden_kernel, hidden_bias, kernel, bias = (tf.constant(a, tf.float64) for a in stack.mlp.arrays())
    return tf.nn.relu(flat @ hidden_kernel + hidden_bias) @ kernel + bias


def cut_region(page: Any, box: tuple[float, float, float, float], shape: tuple[int, int, int]) -> Any:
    """A box of uint8 [h, w, channels], resized by pixel area: uint8 [1, height, width, channels].

    The same pixels as `data_tools.documents.pixels.fit`, but for one gray level in a million that rounds the other way.
    Only a box with fewer pixels than the stored size is enlarged differently.
    """
    import tensorflow as tf

    height, width, channels = shape
    size = tf.shape(page)
    x0, x1 = _pixels(box[0], box[2], size[1])
    y0, y1 = _pixels(box[1], box[3], size[0])
    area = tf.image.resize(page[tf.newaxis, y0:y1, x0:x1], (height, width), method="area")
    # OpenCV rounds halves up where it halves the box both ways, and to the even neighbour otherwise.
    halved = (y1 - y0 == 2 * height) & (x1 - x0 == 2 * width)
    levels = tf.where(halved, tf.floor(area + 0.5), tf.round(area))
    return tf.ensure_shape(tf.cast(levels, tf.uint8), (1, height, width, channels))


def _pixels(start: float, end: float, length: Any) -> tuple[Any, Any]:
    """`data_tools.documents.regions.pixel_box` for one axis, in TensorFlow."""
    import tensorflow as tf

    def rounded(edge: float) -> Any:
        return tf.cast(tf.constant(edge, tf.float64) * tf.cast(length, tf.float64) + 0.5, tf.int32)

    first = tf.minimum(rounded(start), length - 1)
    return first, tf.maximum(rounded(end), first + 1)


def save_exported(ensemble: ExportedEnsemble, folder: Path) -> None:
    """Write the SavedModel: functions `page` and `regions`, also as signatures, and the classes."""
    import tensorflow as tf

    parts = ensemble.by_region
    pages = {name: tf.TensorSpec([None, *part.shape], tf.uint8, name=name) for name, part in parts.items()}
    channels = ensemble.parts[0].shape[2]
    page = tf.TensorSpec([None, None, channels], tf.uint8, name="page")
    module = tf.Module()
    module.regions = tf.function(ensemble.regions, input_signature=[pages])
    module.page = tf.function(ensemble.page, input_signature=[page])
    module.weights = [variable.value for part in ensemble.parts for variable in part.model.variables]
    module.class_ids = tf.Variable(ensemble.stack.class_ids, trainable=False)
    module.class_names = tf.Variable(list(ensemble.class_names), trainable=False)
    signatures = {"serving_default": module.regions, "page": module.page}
    tf.saved_model.save(module, str(folder), signatures=signatures)
