"""Parts of a JPEG or PNG file found in its bytes, in TensorFlow's operations alone, for exported models."""

from collections.abc import Callable
from typing import Any

_MOST_PARTS = 1000
"""Segments or chunks of a file that are looked at, so that no file takes long."""
_EXIF_SEGMENT, _SCAN, _FILL = 0xFFE1, 0xFFDA, 0xFFFF
"""JPEG markers (ITU-T T.81, table B.1)."""
_ORIENTATION = 0x0112
_PNG_SIGNATURE = 8


class FileBytes:
    """The bytes of a string scalar; those after its end are zeros."""

    def __init__(self, content: Any) -> None:
        import tensorflow as tf

        self.content = content
        self.bytes = tf.concat([tf.io.decode_raw(content, tf.uint8), tf.zeros([1], tf.uint8)], 0)
        self.length = tf.size(self.bytes, tf.int64) - 1

    def number(self, place: Any, size: int, *, little: Any = False) -> Any:
        """An unsigned number of `size` bytes, at most 7, from byte `place` on; little: least byte first. int64."""
        import tensorflow as tf

        offsets = tf.range(size, dtype=tf.int64)
        places = tf.minimum(tf.expand_dims(tf.cast(place, tf.int64), -1) + offsets, self.length)
        values = tf.constant([256**power for power in range(size)], tf.int64)
        digits = tf.cast(tf.gather(self.bytes, places), tf.int64)
        return tf.reduce_sum(digits * tf.where(little, values, values[::-1]), -1)

    def cut(self, place: Any, size: Any) -> Any:
        """`size` bytes from byte `place` on, as far as the file has them, as a string scalar."""
        import tensorflow as tf

        return tf.strings.substr(self.content, tf.minimum(place, self.length), tf.maximum(size, 0))


def _part(start: int, passed: Callable[[Any], Any], after: Callable[[Any], Any]) -> Any:
    """The place of the first part of a file that is not `passed`; after: the place of the part after one."""
    import tensorflow as tf

    first = tf.constant(start, tf.int64)
    (place,) = tf.while_loop(passed, lambda place: (after(place),), (first,), maximum_iterations=_MOST_PARTS)
    return place


def orientation(exif: Any) -> Any:
    """The tag of orientation (TIFF 6.0, section 8) of EXIF data, a string scalar; 1 without one. int64."""
    import tensorflow as tf

    file = FileBytes(exif)
    little = file.number(0, 4) == int.from_bytes(b"II*\0")
    known = little | (file.number(0, 4) == int.from_bytes(b"MM\0*"))
    directory = file.number(4, 4, little=little)
    entries = directory + 2 + 12 * tf.range(file.number(directory, 2, little=little))
    found = tf.boolean_mask(entries, file.number(entries, 2, little=little) == _ORIENTATION)
    value = file.number(tf.concat([found, [file.length]], 0)[0] + 8, 2, little=little)
    return tf.where(known & (tf.size(found) > 0), value, tf.ones_like(value))


def jpeg_exif(file: FileBytes) -> Any:
    """The EXIF data of a JPEG, a string scalar; empty without any."""
    import tensorflow as tf

    def is_exif(place: Any) -> Any:
        mark = file.number(place + 4, 6) == int.from_bytes(b"Exif\0\0")
        return (file.number(place, 2) == _EXIF_SEGMENT) & mark

    def passed(place: Any) -> Any:
        marker = file.number(place, 2)
        return (marker >= 0xFF00) & (marker != _SCAN) & ~is_exif(place)

    def after(place: Any) -> Any:
        return tf.where(file.number(place, 2) == _FILL, place + 1, place + 2 + file.number(place + 2, 2))

    place = _part(2, passed, after)
    size = tf.where(is_exif(place), file.number(place + 2, 2) - 8, tf.zeros_like(place))
    return file.cut(place + 10, size)


def png_chunk(file: FileBytes, name: bytes) -> Any:
    """The body of the first chunk `name` of a PNG before its pixels, a string scalar; empty without one."""
    import tensorflow as tf

    def named(place: Any, wanted: bytes) -> Any:
        return file.number(place + 4, 4) == int.from_bytes(wanted)

    def passed(place: Any) -> Any:
        return (place < file.length) & ~named(place, name) & ~named(place, b"IDAT")

    place = _part(_PNG_SIGNATURE, passed, lambda place: place + 12 + file.number(place, 4))
    size = tf.where(named(place, name), file.number(place, 4), tf.zeros_like(place))
    return file.cut(place + 8, size)
