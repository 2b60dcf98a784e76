"""Without Horovod, whatever needs it reports in one line how to build it, and everything else works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "horovod":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def without_horovod(tmp_path: Path) -> dict[str, str]:
    """Variables of a Python that cannot import Horovod."""
    folder = tmp_path / "blocker"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize(
    "command",
    [
        [str(ROOT / "launch/train.py"), "--config", "demo", "--stage", "holistic_64"],
        [str(ROOT / "launch/train_all.py"), "--config", "demo"],
        ["-m", "launch.cli", "train-all", "--config", "demo"],
    ],
    ids=["train.py", "train_all.py", "train-all"],
)
def test_training_is_refused_in_one_line_before_anything_is_written(
    command: list[str], without_horovod: dict[str, str], tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    ended = subprocess.run(
        [sys.executable, *command], env=without_horovod, cwd=here, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "python -m cluster.setup.horovod_wheel --install" in line
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "statement", ["import cluster.on_ray.backend", "from trainer.world import World; World.start()"]
)
def test_what_imports_horovod_raises_a_user_error(statement: str, without_horovod: dict[str, str]) -> None:
    program = f"from data_tools.errors import UserError\ntry:\n    {statement}\nexcept UserError as e:\n    print(e)"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=without_horovod, capture_output=True, text=True, check=False
    )
    assert "python -m cluster.setup.horovod_wheel --install" in ended.stdout, ended.stderr


@pytest.mark.parametrize("module", ["launch.commands.score", "trainer.job", "cluster.on_ray.attempt", "launch.doctor"])
def test_what_does_not_need_horovod_is_imported(module: str, without_horovod: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], env=without_horovod, check=True)
