"""What importing costs: readers need no OpenCV, converters no TensorFlow, and neither needs Ray or Horovod."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

OURS = ("data_tools", "trainer", "cluster", "launch")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("data_tools.shards.reader", ["cv2", "tensorflow", "keras", "ray", "horovod"]),
        ("data_tools.shards.tensors", ["cv2", "tensorflow"]),
        ("data_tools.conversion.convert", ["tensorflow", "keras", "ray", "horovod"]),
        ("data_tools.workers.child", ["numpy", "cv2", "yaml", "multiprocessing.managers"]),
    ],
)
def test_modules_that_are_not_imported(module: str, unwanted: list[str]) -> None:
    program = f"import sys, {module}; print(*[name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


BENCHES = sorted((Path(__file__).parents[2] / "bench").glob("*.py"))


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.stem)
def test_what_a_bench_takes_from_the_project_is_there(bench: Path) -> None:
    """Benches are started by hand, and the checker of types does not read them."""
    for node in ast.walk(ast.parse(bench.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
            module = importlib.import_module(str(node.module))
            for name in node.names:
                there = hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}")
                assert there, f"{bench.name} imports {name.name} from {node.module}"
