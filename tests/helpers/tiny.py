"""The tiny data set and its configuration, which most tests of complete jobs train on."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.commands import regionstack

REGIONS = ("top", "bottom", "left", "right")
JOBS = ("holistic_16", "holistic_32px", *REGIONS, "stack")
"""The jobs of its recipe."""
PAGES = {"train": 6, "val": 2, "test": 2}
"""Drawn pages per class; 96, 32 and 32 in all."""

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
    "cluster": {"slots": 2},
    "checkpoint": {"every_seconds": None, "every_steps": 3, "agree_steps": 1},
}  # fmt: skip


def make_tiny_data(folder: Path) -> Path:
    """Draw the pages, write `tiny.yaml` and convert, all in `folder`; returns the path of the YAML file."""
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
