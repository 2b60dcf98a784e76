"""The bytes of a JPEG or PNG file as a page, in TensorFlow's operations alone, as `data_tools.documents` reads it."""

from typing import Any

from trainer.export.file_parts import FileBytes, jpeg_exif, orientation, png_chunk


def decode(content: Any, channels: int) -> Any:
    """A JPEG or PNG file, a string scalar, as a page uint8 [h, w, channels], on white paper and upright (EXIF).

    TensorFlow decodes no TIFF. A file in color becomes gray as TensorFlow's decoders do it, within a gray level of
    OpenCV; a CMYK file within two.
    """
    import tensorflow as tf

    file = FileBytes(content)
    page = tf.cond(tf.io.is_jpeg(content), lambda: _jpeg(file, channels), lambda: _png(file, channels))
    return tf.ensure_shape(page, [None, None, channels])


def _jpeg(file: FileBytes, channels: int) -> Any:
    import tensorflow as tf

    def decoded(count: int) -> Any:
        return tf.io.decode_jpeg(file.content, channels=count, dct_method="INTEGER_ACCURATE")

    def gray() -> Any:
        # TensorFlow converts CMYK to RGB alone.
        levels = tf.image.rgb_to_grayscale(tf.cast(decoded(3), tf.float32))
        return tf.cast(tf.round(levels), tf.uint8)

    if channels == 1:
        page = tf.cond(tf.io.extract_jpeg_shape(file.content)[2] == 4, gray, lambda: decoded(1))
    else:
        page = decoded(channels)
    return upright(page, orientation(jpeg_exif(file)))


def _png(file: FileBytes, channels: int) -> Any:
    import tensorflow as tf

    page = tf.io.decode_png(file.content, channels=channels)
    has_alpha = (file.number(25, 1) & 4) > 0
    transparent = has_alpha | (tf.strings.length(png_chunk(file, b"tRNS")) > 0)

    def on_white() -> Any:
        # Only of a transparent file: for others of fewer than 8 bits, TensorFlow fills in another opacity than 255.
        opacity = tf.cast(tf.io.decode_png(file.content, channels=4)[:, :, 3:], tf.float32) / 255.0
        return tf.cast(255.5 - (255.0 - tf.cast(page, tf.float32)) * opacity, tf.uint8)

    return upright(tf.cond(transparent, on_white, lambda: page), orientation(png_chunk(file, b"eXIf")))


def upright(page: Any, turn: Any) -> Any:
    """`page` [h, w, channels] upright; turn: the value of EXIF's tag of orientation, an int64 scalar."""
    import tensorflow as tf

    def one_of(*values: int) -> Any:
        return tf.reduce_any(turn == tf.constant(values, tf.int64))

    def turned() -> Any:
        lying = tf.cond(one_of(5, 6, 7, 8), lambda: tf.transpose(page, (1, 0, 2)), lambda: page)
        mirrored = tf.cond(one_of(3, 4, 7, 8), lambda: tf.reverse(lying, [0]), lambda: lying)
        return tf.cond(one_of(2, 3, 6, 7), lambda: tf.reverse(mirrored, [1]), lambda: mirrored)

    return tf.cond(one_of(2, 3, 4, 5, 6, 7, 8), turned, lambda: page)
