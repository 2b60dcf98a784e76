"""TensorFlow's start-up lines: kept from the terminal, but not where they may say why loading failed."""

import os
import subprocess
import sys
from pathlib import Path

from data_tools.files import PROJECT_ROOT

PROGRAM = "from trainer.native_log import load_tensorflow; print(*load_tensorflow(), sep='\\n'); load_tensorflow()"


def load(folder: Path, *, tensorflow: str) -> subprocess.CompletedProcess[str]:
    """Load a `tensorflow` and a `keras` of our own in a new process."""
    (folder / "tensorflow.py").write_text(tensorflow)
    (folder / "keras.py").write_text("")
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{PROJECT_ROOT}"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_native_lines_are_returned_and_not_printed(tmp_path: Path) -> None:
    loads = (
        "import logging, os\nget_logger = logging.getLogger\nos.write(2, b'I0000 oneDNN is on\\n')\n"
        "class config:\n    @staticmethod\n"
        "    def list_physical_devices(kind):\n        os.write(2, b'E0000 cuInit failed\\n')\n        return []\n"
    )
    ended = load(tmp_path, tensorflow=loads)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "I0000 oneDNN is on\nE0000 cuInit failed\n"


def test_the_lines_of_a_failure_are_printed(tmp_path: Path) -> None:
    ended = load(tmp_path, tensorflow="import os\nos.write(2, b'no AVX here\\n')\nraise ImportError('broken')\n")
    assert ended.returncode == 1
    assert "no AVX here" in ended.stderr
    assert "ImportError: broken" in ended.stderr


def test_an_interrupt_while_loading_prints_nothing_of_it(tmp_path: Path) -> None:
    ended = load(tmp_path, tensorflow="import os\nos.write(2, b'I0000 oneDNN\\n')\nraise KeyboardInterrupt\n")
    assert "I0000" not in ended.stderr
    assert "KeyboardInterrupt" in ended.stderr


def test_matplotlib_is_absent_in_the_block_alone() -> None:
    program = (
        "from importlib import import_module\nfrom trainer.native_log import no_matplotlib\n"
        "def found():\n    try:\n        return bool(import_module('matplotlib'))\n"
        "    except ImportError:\n        return False\n"
        "with no_matplotlib():\n    inside = found()\n"
        "after = found()\n"
        "with no_matplotlib():\n    loaded = found()\n"
        "print(inside, after, loaded)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT
    )
    assert ended.stdout.split() == ["False", "True", "True"]
