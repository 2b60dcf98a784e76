"""The tiny data set and one finished run on it, made once for all tests of this folder that ask for them."""

from pathlib import Path

import pytest

from tests.helpers.commands import regionstack
from tests.helpers.tiny import make_tiny_data


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of `tiny.yaml`; its pages and shards lie beside it."""
    return make_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on two slots, one worker a region; its output is in `output.txt` beside it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    output = regionstack("train-all", "--config", str(tiny), "--set", f"run.folder={folder}")
    (folder.parent / "output.txt").write_text(output)
    return folder
