"""The tiny data set, made once for all tests of this folder."""

from pathlib import Path

import pytest

from tests.helpers.tiny import make_tiny_data


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of `tiny.yaml`; its shards lie beside it."""
    return make_tiny_data(tmp_path_factory.mktemp("tiny"))
