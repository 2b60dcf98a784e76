"""The network of the recipe at full size on a few pages: two ranks at 128 px, then one at 256 px."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_tools.files import read_json, read_lines
from tests.helpers.commands import horovodrun, regionstack

PARAMETERS = 54_336_736
"""InceptionResNetV2 without its top, all variables (Keras' own count)."""
CLASSES = 12
"""Of the 16 drawn, one page each: three steps of four pages."""


def write_config(folder: Path) -> Path:
    brief = {"epochs": 1, "global_batch": 4}
    regions = {**brief, "start": "holistic_128"}
    config: dict[str, Any] = {
        "preset": "rvl_cdip",
        "data": {"root": str(folder / "pages"), "class_names": None, "max_per_class": None,
                 "classes": list(range(CLASSES)),
                 **{split: str(folder / "pages" / "labels" / f"{split}.txt") for split in ("train", "val", "test")}},
        "regions": {"top": [0, 0, 1, 0.5]},
        "shards": {"folder": str(folder / "shards")},
        "model": {"weights": "none"},
        "stages": {"holistic_128": brief, "holistic_256": None, "regions": regions},
        "training": {"evaluation_batch": 8, "batchnorm_batches": 0},
        "checkpoint": {"every_seconds": None, "every_steps": 1, "agree_steps": 1, "keep": 1},
        "run": {"folder": str(folder / "run")},
    }  # fmt: skip
    path = folder / "inception.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.timeout(2400)
def test_built_stepped_saved_resumed_and_transferred(tmp_path: Path) -> None:
    regionstack("draw", "--out", str(tmp_path / "pages"), "--train", "1", "--val", "1", "--test", "1")
    config = write_config(tmp_path)
    regionstack("convert", "--config", str(config))
    plan = tmp_path / "faults.json"
    plan.write_text(json.dumps([{"job": "holistic_128", "step": 3, "rank": 1, "action": "kill"}]))

    jobs = tmp_path / "run" / "jobs"
    train = ["launch/train.py", "--config", str(config), "--stage", "holistic_128"]
    horovodrun(2, *train, env={"REGIONSTACK_FAULTS": str(plan)}, status=None)
    assert len(read_lines(jobs / "holistic_128" / "faults.jsonl")) == 1
    horovodrun(2, *train)
    first = read_json(jobs / "holistic_128" / "result.json")
    assert (first["world_size"], first["attempt"]) == (2, 2)
    log = (jobs / "holistic_128" / "log.txt").read_text()
    # The writer starts on step 2's checkpoint when step 1's is on disk; the kill may cut step 2's short.
    assert re.search(r"start: own checkpoint of step [12]\b", log), "it resumes"
    regionstack("train", "--config", str(config), "--stage", "regions", "--region", "top")
    second = read_json(jobs / "top" / "result.json")
    assert second["start"]["digest"] == first["weights_digest"], "from 128 px to a region at 256 px"
    assert second["weights_digest"] != first["weights_digest"], "the weights changed"
    head = 1536 * 1024 + 1024 + 1024 * 512 + 512 + 512 * CLASSES + CLASSES
    # Trainable: all of the backbone but the two moving statistics of its 204 BatchNorm layers.
    assert first["parameters"] == second["parameters"]
    assert PARAMETERS - 70_000 < first["parameters"] - head < PARAMETERS
