"""The artifact as a SavedModel, which also decodes a page and cuts its regions; it loads with TensorFlow alone.

    model = tf.saved_model.load("export/saved_model")
    model.encoded(content)               # the bytes of a JPEG or PNG file; transparent pages lie on white paper
    model.page(page)                     # uint8 [h, w, channels], one page as scanned
    model.regions({"holistic": …, …})    # uint8 [n, height, width, channels] each, as stored in the shards

Each returns a dictionary of float32 [n, classes]: one entry a member, and `stack`. `model.class_ids` and
`model.class_names` name the columns.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.export.artifact import Artifact, Pages, Runner
from trainer.export.encoded import decode

FOLDER = "saved_model"

_STORAGE = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO


def write_saved_model(
    artifact: Artifact, folder: Path, *, class_ids: Sequence[int], class_names: Sequence[str]
) -> Path:
    """Write the SavedModel into `folder`: functions `encoded`, `page`, `regions`, as signatures too, and classes.

    class_ids, class_names: in the order of the outputs' columns.

    Raises:
        OSError: the folder cannot be written.
    """
    import tensorflow as tf

    regions = artifact.regions
    channels = artifact.members[0].pages.shape[2]

    def of_page(page: Any) -> dict[str, Any]:
        return artifact.probabilities({name: cut_region(page, r.box, r.shape) for name, r in regions.items()})

    def of_file(content: Any) -> dict[str, Any]:
        return of_page(decode(content, channels))

    stored = {name: tf.TensorSpec([None, *region.shape], tf.uint8, name=name) for name, region in regions.items()}
    module = tf.Module()
    module.regions = tf.function(artifact.probabilities, input_signature=[stored])
    module.page = tf.function(of_page, input_signature=[tf.TensorSpec([None, None, channels], tf.uint8, name="page")])
    module.encoded = tf.function(of_file, input_signature=[tf.TensorSpec([], tf.string, name="content")])
    module.weights = [variable.value for member in artifact.members for variable in member.model.variables]
    module.class_ids = tf.Variable(list(class_ids), trainable=False, dtype=tf.int64)
    module.class_names = tf.Variable(list(class_names), trainable=False)
    signatures = {"serving_default": module.regions, "page": module.page, "encoded": module.encoded}
    path = folder / FOLDER
    with storage_errors(path):
        tf.saved_model.save(module, str(path), signatures=signatures)
    # TensorFlow makes folders that a group cannot write, whatever the umask.
    mode = stat.S_IMODE(folder.stat().st_mode)
    for made in (path, *(inside for inside in path.rglob("*") if inside.is_dir())):
        made.chmod(mode)
    return path


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


def open_saved_model(path: Path) -> Runner:
    """Load a SavedModel; its function `regions`."""
    import tensorflow as tf

    model = tf.saved_model.load(str(path))

    def run(pages: Pages) -> dict[str, Any]:
        outputs = model.regions({name: tf.constant(rows) for name, rows in pages.items()})
        return {name: output.numpy() for name, output in outputs.items()}

    return run


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
