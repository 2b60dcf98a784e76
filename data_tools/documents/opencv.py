"""The only import of OpenCV, with the limits that it reads from the environment while it loads.

Modules that need OpenCV take it from here: `from data_tools.documents.opencv import cv2`.
"""

import os

MAX_PIXELS = 2**28
"""Largest page that is decoded (16,384 x 16,384 pixels): a declared 100,000 x 100,000 would ask for 10 GB."""


def _set_limits() -> None:
    """Set OpenCV's environment variables, unless the user did; without effect on an OpenCV that is loaded."""
    # OpenCV's own limit is four times as high.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    # libtiff writes a line to stderr for each unusual tag.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


_set_limits()

import cv2  # noqa: E402

__all__ = ["MAX_PIXELS", "cv2", "use_single_thread"]


def use_single_thread() -> None:
    """Keep OpenCV in this process to the calling thread; for processes that share the cores with others."""
    cv2.setNumThreads(1)
