"""What the tests of whole jobs share: a tiny drawn data set, a configuration for it, and real horovodrun worlds."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
LONGEST_S = 900.0
"""A command that takes longer hangs: whole tiny runs take a minute or two on two cores."""
PAGES = {"train": 6, "val": 2, "test": 2}
"""Drawn pages a class: 96 to train on, 32 to validate, 32 to test."""

TINY: dict[str, Any] = {
    "preset": "demo",
    "data": {"root": "pages", "train": "pages/labels/train.txt", "val": "pages/labels/val.txt",
             "test": "pages/labels/test.txt", "class_names": "pages/classes.txt"},
    "shards": {"folder": "shards", "height": 32, "width": 32},
    "model": {"dense": [32, 16]},
    "stages": {
        "holistic_32": None,
        "holistic_64": None,
        "holistic_16": {"image_px": 16, "epochs": 3, "global_batch": 24,
                        "optimizer": {"name": "adam", "learning_rate": 0.002}},
        "holistic_32px": {"image_px": 32, "epochs": 2, "global_batch": 24, "start": "holistic_16",
                          "head_epochs": 1, "optimizer": {"name": "adam", "learning_rate": 0.001}},
        "regions": {"region": "each", "image_px": 32, "epochs": 2, "global_batch": 24, "start": "holistic_32px",
                    "optimizer": {"name": "adam", "learning_rate": 0.001}},
    },
    "checkpoint": {"every_seconds": None, "every_steps": 3, "agree_steps": 1},
}  # fmt: skip


def make_tiny_data(folder: Path) -> Path:
    """Draw the pages, write `tiny.yaml` and convert; returns the YAML's path. Everything lies in `folder`."""
    config = json.loads(json.dumps(TINY))
    for key in ("root", "train", "val", "test", "class_names"):
        config["data"][key] = str(folder / config["data"][key])
    config["shards"]["folder"] = str(folder / "shards")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    counts = [f"--{split}={count}" for split, count in PAGES.items()]
    regionstack("draw", "--out", str(folder / "pages"), *counts)
    regionstack("convert", "--config", str(path))
    return path


def regionstack(*arguments: str, env: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Run the command line; its output, after checking the exit status."""
    return run([sys.executable, "-m", "launch.cli", *arguments], env=env, status=status)


def horovodrun(
    workers: int,
    *command: str,
    env: Mapping[str, str] | None = None,
    status: int | None = 0,
    timeout_s: float = LONGEST_S,
) -> str:
    """Run a Python program as a real Horovod world; its output. status None: any but 0."""
    launcher = str(Path(sys.executable).parent / "horovodrun")
    world = [launcher, "-np", str(workers), sys.executable, *command]
    return run(world, env=env, status=status, timeout_s=timeout_s)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    status: int | None = 0,
    timeout_s: float = LONGEST_S,
) -> str:
    """Run a command in the project's root; output and errors together."""
    ended = subprocess.run(
        command, cwd=ROOT, text=True, check=False, timeout=timeout_s, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, env={**environment(), **(env or {})},
    )  # fmt: skip
    as_expected = ended.returncode == status if status is not None else ended.returncode != 0
    if not as_expected:
        raise AssertionError(f"{' '.join(command)}: exit status {ended.returncode}\n{ended.stdout[-6000:]}")
    return ended.stdout


def environment() -> dict[str, str]:
    """This process' environment, quiet TensorFlow, one thread a worker, the project importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    bin_folder = str(Path(sys.executable).parent)
    return {**os.environ, "PYTHONPATH": path, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "TF_CPP_MIN_LOG_LEVEL": "3", "REGIONSTACK_THREADS": "1"}  # fmt: skip
