"""What is checked and fetched before the first job."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from data_tools.errors import UserError
from launch.config import load_config
from launch.recipe.prepare import ensure_weights

if __name__ == "__main__":
    try:
        ensure_weights(load_config("demo", sys.argv[1:]))
    except UserError as error:
        print(error)
    print("tensorflow" in sys.modules)
"""


def test_start_weights_are_imported_without_configuring_tensorflow_in_this_process(tmp_path: Path) -> None:
    # A rank of horovodrun chooses its GPU afterwards, which TensorFlow refuses once it has computed anything.
    (tmp_path / "program.py").write_text(PROGRAM)
    weights = tmp_path / "bad.weights.h5"
    weights.write_bytes(b"no weights")
    settings = [f"run.folder={tmp_path / 'run'}", f"model.weights={weights}"]
    command = [sys.executable, str(tmp_path / "program.py"), *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    first, problem, configured = done.stdout.splitlines()
    assert first == f"start weights: {weights}"
    assert str(weights) in problem, "the error of the child process"
    assert configured == "False"
