"""The exported SavedModel: the ensemble's outputs, the way from a page to its regions, and the classes."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.serving.ensemble import Ensemble

_STORAGE = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO


def save_exported(ensemble: Ensemble, folder: Path, *, class_names: Sequence[str]) -> None:
    """Write the SavedModel: functions `page` and `regions`, also as signatures, and the classes.

    class_names: in the order of the outputs' columns.

    Raises:
        OSError: the folder cannot be written; `filename` is `folder`.
    """
    import tensorflow as tf

    regions = ensemble.regions

    def of_page(page: Any) -> dict[str, Any]:
        return ensemble.outputs({name: cut_region(page, r.box, r.shape) for name, r in regions.items()})

    channels = ensemble.members[0].pages.shape[2]
    module = tf.Module()
    module.regions = ensemble.function()
    module.page = tf.function(of_page, input_signature=[tf.TensorSpec([None, None, channels], tf.uint8, name="page")])
    module.weights = [variable.value for member in ensemble.members for variable in member.model.variables]
    module.class_ids = tf.Variable(ensemble.stack.class_ids, trainable=False)
    module.class_names = tf.Variable(list(class_names), trainable=False)
    signatures = {"serving_default": module.regions, "page": module.page}
    with storage_errors(folder):
        tf.saved_model.save(module, str(folder), signatures=signatures)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Around TensorFlow's writing to `path`: its own errors of the file system become those of Python.

    Raises:
        OSError: the file system is full, read-only or closed to this user.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        for number in _STORAGE:
            # TensorFlow ends its message with the system's text.
            if os.strerror(number) in (error.message or ""):
                raise OSError(number, os.strerror(number), str(path)) from None
        raise


def cut_region(page: Any, box: tuple[float, float, float, float], shape: tuple[int, int, int]) -> Any:
    """A box of a page uint8 [h, w, channels], resized by pixel area to `shape`: uint8 [1, height, width, channels].

    The same pixels as `data_tools.documents.pixels.fit`, except for about one gray level in a million that rounds the
    other way. A box that is smaller than the stored size is enlarged differently.
    """
    import tensorflow as tf

    height, width, channels = shape
    size = tf.shape(page)
    x0, x1 = _pixels(box[0], box[2], size[1])
    y0, y1 = _pixels(box[1], box[3], size[0])
    area = tf.image.resize(page[tf.newaxis, y0:y1, x0:x1], (height, width), method="area")
    # OpenCV rounds halves up if it halves the box in both directions, and to the even neighbor otherwise.
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
