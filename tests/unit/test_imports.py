"""What importing costs: readers need no OpenCV, converters no TensorFlow, and neither needs Ray or Horovod."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("data_tools.reader", ["cv2", "tensorflow", "keras", "ray", "horovod"]),
        ("data_tools.tensors", ["cv2", "tensorflow"]),
        ("data_tools.convert", ["tensorflow", "keras", "ray", "horovod"]),
        ("data_tools.pool_worker", ["numpy", "cv2", "yaml", "multiprocessing.managers"]),
    ],
)
def test_modules_that_are_not_imported(module: str, unwanted: list[str]) -> None:
    program = f"import sys, {module}; print(*[name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
