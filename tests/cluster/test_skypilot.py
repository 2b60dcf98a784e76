"""cluster/skypilot.yaml: SkyPilot's own loader reads it, and its `run` section works with stand-ins for Ray and Python.

SkyPilot needs other versions than this project, so it lives in a tool environment of its own in the cache folder.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.helpers.ports import free_ports
from tests.helpers.waiting import wait_until

FILE = ROOT / "cluster" / "skypilot.yaml"
SKYPILOT = "skypilot==0.14.1"
CACHE = Path(os.environ.get("REGIONSTACK_CACHE", "~/.cache/regionstack")).expanduser()
LOAD = """
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
kinds = [next(iter(resources.accelerators)) for resources in task.resources]
spot = all(resources.use_spot for resources in task.resources)
print(json.dumps({"nodes": task.num_nodes, "kinds": sorted(kinds), "spot": spot, "envs": task.envs,
                  "mounts": sorted(task.storage_mounts), "run": task.run}))
"""
RAY = """#!/usr/bin/env python3
import signal, socket, sys
(port,) = [int(part.partition("=")[2]) for part in sys.argv if part.startswith("--port=")]
server = socket.create_server(("127.0.0.1", port))
signal.pause()
"""
PYTHON = """#!/usr/bin/env python3
import os, pathlib, signal, sys
run = pathlib.Path(os.environ["REGIONSTACK_SHARED"]) / "runs" / "first"
earlier = (run / "steps").read_text() if run.exists() else ""
run.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
(run / "steps").write_text(earlier + os.environ["REGIONSTACK_CONFIG"] + os.linesep)
(run / "driver.lease").touch()
if not earlier:
    signal.pause()
"""


@pytest.fixture(scope="session")
def sky() -> Path:
    """The Python of an environment with SkyPilot."""
    folder = CACHE / "tools" / SKYPILOT.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "-q", SKYPILOT],
        ]
        for command in commands:
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
            if ended.returncode:
                pytest.skip(f"{SKYPILOT} cannot be installed: {ended.stderr.strip()[-300:]}")
        (folder / "ready").touch()
    return python


def load(python: Path, file: Path, home: Path) -> "subprocess.CompletedProcess[str]":
    """What SkyPilot's loader makes of a task file."""
    return subprocess.run(
        [str(python), "-c", LOAD, str(file)], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": "", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
    )  # fmt: skip


def test_skypilots_own_loader_accepts_the_file(sky: Path, tmp_path: Path) -> None:
    ended = load(sky, FILE, tmp_path)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert (found["nodes"], found["spot"], found["mounts"]) == (1, True, ["/bucket"])
    assert {"L4", "A100", "H100"} <= set(found["kinds"])
    assert found["envs"]["COPY"] == "/bucket"


def test_skypilots_loader_is_strict(sky: Path, tmp_path: Path) -> None:
    task = yaml.safe_load(FILE.read_text())
    task["resources"]["use_spots"] = True
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task))
    assert "use_spots" in load(sky, tmp_path / "task.yaml", tmp_path).stderr


@pytest.mark.parametrize("section", ["setup", "run"])
def test_the_sections_are_bash_and_call_what_travels(section: str) -> None:
    text = yaml.safe_load(FILE.read_text())[section]
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    scripts = [word for word in text.split() if word.endswith(".sh") and word.startswith("cluster/")]
    assert scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)


def test_a_machine_that_is_taken_away_leaves_a_copy_from_which_the_next_one_continues(tmp_path: Path) -> None:
    """The first machine is stopped; the second has an empty disk and the bucket."""
    tools, bucket = tmp_path / "bin", tmp_path / "bucket"
    tools.mkdir()
    for name, text in (("ray", RAY), ("python", PYTHON)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (bucket / "pages").mkdir(parents=True)
    first = machine(tmp_path, "one", "regionstack.yaml")
    copied = bucket / "runs" / "first" / "steps"
    wait_until(copied.exists, "a copy of the run", limit_s=30)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=30) == 75
    assert (tmp_path / "one" / "pages").samefile(bucket / "pages")
    assert machine(tmp_path, "two", "/etc/my.yaml").wait(timeout=30) == 0
    assert copied.read_text().splitlines() == [f"{ROOT}/regionstack.yaml", "/etc/my.yaml"]
    assert not (bucket / "runs" / "first" / "driver.lease").exists(), "another machine could not take it over at once"


def machine(folder: Path, name: str, config: str) -> "subprocess.Popen[bytes]":
    """Start the `run` section on a machine with an empty shared folder."""
    (folder / name).mkdir()
    variables = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "REGIONSTACK_SHARED": str(folder / name),
        "COPY": str(folder / "bucket"), "COPY_EVERY_S": "0.2", "RAY_NODE_PORT": str(free_ports(1)[0]),
        "SKYPILOT_NODE_IPS": "127.0.0.1", "SKYPILOT_NUM_NODES": "1", "SKYPILOT_NODE_RANK": "0",
        "SKYPILOT_TASK_ID": "sky-1", "REGIONSTACK_CONFIG": config,
    }  # fmt: skip
    return subprocess.Popen([ROOT / "cluster/setup/skypilot_run.sh"], env={**os.environ, **variables})
