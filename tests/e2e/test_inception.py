"""The true network of the recipe, small in nothing but the number of pages: two ranks, 128 and 256 px."""

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


def write_config(folder: Path) -> Path:
    brief = {"epochs": 1, "global_batch": 4}
    regions = {**brief, "start": "holistic_128"}
    config: dict[str, Any] = {
        "preset": "rvl_cdip",
        "data": {"root": str(folder / "pages"), "class_names": None, "max_per_class": None,
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

    def train(stage: str, *more: str, status: int | None = 0) -> dict[str, Any]:
        arguments = ("launch/train.py", "--config", str(config), "--stage", stage, *more)
        horovodrun(2, *arguments, env={"REGIONSTACK_FAULTS": str(plan)}, status=status, timeout_s=900)
        name = "top" if more else stage
        return dict(read_json(tmp_path / "run" / "jobs" / name / "result.json")) if status == 0 else {}

    train("holistic_128", status=None)
    assert len(read_lines(tmp_path / "run" / "jobs" / "holistic_128" / "faults.jsonl")) == 1
    first = train("holistic_128")
    assert (first["world_size"], first["attempt"]) == (2, 2)
    log = (tmp_path / "run" / "jobs" / "holistic_128" / "log.txt").read_text()
    # The checkpoint of step 2 is begun when that of step 1 is on disk, and may be cut short by the kill.
    assert re.search(r"start: own checkpoint of step [12]\b", log), "it does not begin anew"
    second = train("regions", "--region", "top")
    assert second["start"]["digest"] == first["weights_digest"], "from 128 px to a region at 256 px"
    assert second["weights_digest"] != first["weights_digest"], "it has learnt something"
    head = 1536 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 16 + 16
    # Trainable: all of the backbone but the two moving statistics of its 204 BatchNorm layers.
    assert first["parameters"] == second["parameters"]
    assert PARAMETERS - 70_000 < first["parameters"] - head < PARAMETERS
