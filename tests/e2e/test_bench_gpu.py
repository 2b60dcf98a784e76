"""The GPU bench on a machine without a GPU: its rows run, its table is written, its budget is obeyed."""

import json
import subprocess
import sys
import time
from pathlib import Path

from data_tools.files import PROJECT_ROOT

LEAST_S = 30.0
IMPORTS = 8
"""A budget of this many imports of TensorFlow covers the checks and two rows, however slow the machine is."""


def test_rows_within_a_budget(tmp_path: Path) -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, capture_output=True)
    budget_s = max(LEAST_S, IMPORTS * (time.monotonic() - began))
    table, began = tmp_path / "gpu.md", time.monotonic()
    command = [sys.executable, "bench/gpu.py", "--tiny", "--budget", str(budget_s), "--out", str(table)]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=240)
    result = json.loads(ended.stdout.splitlines()[-1])
    assert result["bench"] == "gpu"
    assert result["rows"] >= 1
    assert ended.returncode == (0 if result["holds"] else 1)
    assert "int64 sums are exact: True" in ended.stdout
    first, *_ = [line.split("|")[1:-1] for line in table.read_text().splitlines()[2:]]
    assert first[0].strip() == "regionstack"
    assert float(first[6].replace(",", "")) > 0, "pages/s, not the reason of a failure"
    assert time.monotonic() - began < budget_s + 20, "a row that has begun is stopped at the end of the budget"
