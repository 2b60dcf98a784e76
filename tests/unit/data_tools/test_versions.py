"""Versions of installed packages."""

import platform

import numpy as np

from data_tools.versions import installed


def test_what_is_not_installed_is_left_out() -> None:
    assert installed("numpy", "no-such-package") == {"python": platform.python_version(), "numpy": np.__version__}
