"""Zero-copy tensors of batches. The only module of this package that imports TensorFlow."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.prefetch import ALIGNMENT

if TYPE_CHECKING:
    import tensorflow as tf


def as_tensor(array: NDArray[Any]) -> "tf.Tensor":
    """`array` as a CPU tensor of the same shape and dtype, without a copy if its memory is aligned and writable.

    The memory of batches is. A shared array must not change afterwards. The tensor holds a reference to it until
    TensorFlow frees the tensor, so `prefetch.Ring` does not reuse the memory before. Other arrays are copied.
    """
    import tensorflow as tf  # Imported late: takes seconds.

    # TensorFlow aborts the process when a kernel gets a buffer with a smaller alignment.
    aligned = array.ctypes.data % ALIGNMENT == 0
    if not (aligned and array.flags.writeable and array.flags.c_contiguous) or array.dtype == np.bool_:
        return tf.convert_to_tensor(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
