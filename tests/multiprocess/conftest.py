"""What the tests of this folder share: the tiny data set, and the same computations in worlds of several sizes."""

from pathlib import Path

import pytest

from tests.helpers.commands import horovodrun
from tests.helpers.tiny import make_tiny_data

SIZES = (1, 2, 4)
"""Workers of the worlds that are compared."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of `tiny.yaml`; its shards lie beside it."""
    return make_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def compared_worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By number of workers: the folder that `compare_worlds.py` wrote in a real world of that size."""
    folders = {}
    for size in SIZES:
        folders[size] = tmp_path_factory.mktemp(f"world-{size}")
        horovodrun(size, "tests/multiprocess/programs/compare_worlds.py", str(folders[size]))
    return folders
