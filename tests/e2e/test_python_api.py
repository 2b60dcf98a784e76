"""The examples of docs/python.md, run as they stand; the command line gives the same answers."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.predict.run import SOME_REJECTED
from tests.helpers.commands import ROOT, environment, regionstack

EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tiny: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the names that the examples use: my.yaml, runs/my and scans/."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copy(tiny, folder / "my.yaml")
    (folder / "runs").mkdir()
    (folder / "runs" / "my").symlink_to(finished)
    (folder / "scans").mkdir()
    for number, page in enumerate(sorted(tiny.parent.rglob("*.tif"))[:3]):
        shutil.copy(page, folder / "scans" / f"{number}.tif")
    (folder / "scans" / "broken.tif").write_bytes(b"II*\0")
    return folder


def test_the_examples_run(place: Path) -> None:
    assert len(EXAMPLES) == 5
    for number, example in enumerate(EXAMPLES):
        script = place / f"example{number}.py"
        script.write_text(example)
        ended = subprocess.run(
            [sys.executable, script.name], cwd=place, env=environment(), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{example}\n{ended.stderr}"
        assert ended.stdout


def test_the_command_and_the_api_agree(place: Path, finished: Path, tmp_path: Path) -> None:
    pages = sorted(map(str, (place / "scans").glob("*.tif")))
    file = tmp_path / "said.json"
    regionstack("predict", str(finished), *pages, "--json", str(file), "--all", status=SOME_REJECTED)
    said = [answer for answer in json.loads(file.read_text())["answers"] if not answer["error"]]
    program = (
        "import json, sys\nfrom launch import open_run\n"
        "rows = [p for p in open_run(sys.argv[1]).predict(sys.argv[2:]) if not p.error]\n"
        "print(json.dumps([[p.page, p.decision, {m: {n: round(float(x), 6) for n, x in zip(p.class_names, s)} "
        "for m, s in p.outputs.items()}] for p in rows]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program, str(finished), *pages], env=environment(), capture_output=True, check=True
    ).stdout
    assert json.loads(output) == [[one["source"], one["decision"], one["probabilities"]] for one in said]
    assert len(said) == len(pages) - 1
