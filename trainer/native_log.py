"""Loads TensorFlow without its start-up lines on the terminal, and without what no job needs.

TensorFlow, absl and CUDA write to file descriptor 2 before any setting of theirs can stop them.
"""

import contextlib
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def native_lines() -> Iterator[list[str]]:
    """Keep what libraries write to file descriptor 2 in the block; the list holds the lines after it.

    If the block fails, the lines reach stderr, since they may say why; an interrupt needs no reason.
    """
    lines: list[str] = []
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield lines
        except Exception:
            captured.seek(0)
            os.write(terminal, captured.read())
            raise
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
        captured.seek(0)
        lines += captured.read().decode(errors="replace").splitlines()


@functools.cache
def load_tensorflow() -> tuple[str, ...]:
    """Import TensorFlow and Keras and look for devices; the lines that they wrote meanwhile. Later calls do nothing.

    If loading fails, the lines reach stderr, since they may say why.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_lines() as lines:
        import keras  # noqa: F401
        import tensorflow as tf

        tf.get_logger().addFilter(_is_news)
        # CUDA writes its lines when it is first asked.
        tf.config.list_physical_devices("GPU")
    return tuple(lines)


@contextlib.contextmanager
def no_matplotlib() -> Iterator[None]:
    """In the block, matplotlib appears not to be installed, unless it is loaded already.

    Keras imports it where it can, for galleries that no training job draws; that is a fifth of the time in which
    TensorFlow, Keras and Horovod load.
    """
    absent: dict[str, Any] = {} if "matplotlib" in sys.modules else {"matplotlib": None}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def _is_news(record: logging.LogRecord) -> bool:
    """False for TensorFlow's advice about functions that are traced often: every job of a process traces its own."""
    return "triggered tf.function retracing" not in record.getMessage()
