"""Batches into TensorFlow without a copy. Beside `fetch`, the only file of this package that imports TensorFlow."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.prefetch import ALIGNMENT

if TYPE_CHECKING:
    import tensorflow as tf


def as_tensor(array: NDArray[Any]) -> "tf.Tensor":
    """`array` as a CPU tensor, over the same memory where that is aligned and writable, as batches' is.

    Such an array must not change any more. The tensor holds a reference on it until TensorFlow has freed
    it, so a `reader.Ring` does not use the memory again before. Other arrays are copied.
    """
    import tensorflow as tf  # Here, since it takes seconds.

    # TensorFlow ends the process where a kernel meets a buffer that is aligned to less.
    aligned = array.ctypes.data % ALIGNMENT == 0
    if not (aligned and array.flags.writeable and array.flags.c_contiguous) or array.dtype == np.bool_:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
