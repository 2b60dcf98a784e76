"""Loads TensorFlow without its start-up lines on the terminal.

TensorFlow, absl and CUDA write to file descriptor 2 before any setting of theirs can stop them.
"""

import functools
import logging
import os
import sys
import tempfile


@functools.cache
def load_tensorflow() -> tuple[str, ...]:
    """Import TensorFlow and Keras and look for devices; the lines that they wrote meanwhile. Later calls do nothing.

    If loading fails, the lines reach stderr, since they may say why.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            _load()
        except BaseException:
            captured.seek(0)
            os.write(terminal, captured.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
        captured.seek(0)
        return tuple(captured.read().decode(errors="replace").splitlines())


def _load() -> None:
    import keras  # noqa: F401
    import tensorflow as tf

    tf.get_logger().addFilter(_is_news)
    # CUDA writes its lines when it is first asked.
    tf.config.list_physical_devices("GPU")
    sys.stderr.flush()


def _is_news(record: logging.LogRecord) -> bool:
    """False for TensorFlow's advice about functions that are traced often: every job of a process traces its own."""
    return "triggered tf.function retracing" not in record.getMessage()
