"""Whole runs under faults, on real Ray and real Horovod: all end as the unharmed run did, and each fault has fired."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.files import read_json, read_lines
from tests.e2e.test_train_all import JOBS
from tests.worlds import regionstack

pytestmark = pytest.mark.timeout(1500)
"""Against a hang alone: the first test makes the unharmed run, too, and the machine may be busy."""


def arguments(tiny: Path, folder: Path, *settings: str) -> list[str]:
    chosen = [f"run.folder={folder}", "cluster.address=local", *settings]
    return ["train-all", "--config", str(tiny), *(part for setting in chosen for part in ("--set", setting))]


def plan(folder: Path, *faults: dict[str, Any]) -> None:
    """The run's fault plan."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(json.dumps(faults))


def fired(folder: Path) -> list[tuple[str, int, str]]:
    """Job, attempt and action of all faults that fired."""
    lines = [line for path in sorted(folder.glob("jobs/*/faults.jsonl")) for line in read_lines(path)]
    return sorted((line["job"], line["attempt"], line["action"]) for line in lines)


def attempts(folder: Path) -> dict[str, int]:
    """How often each job was started."""
    started = [event["job"] for event in read_lines(folder / "events.jsonl") if event["event"] == "started"]
    return {job: started.count(job) for job in dict.fromkeys(started)}


def errors(folder: Path, job: str) -> list[str]:
    """What the driver wrote down about the failures of a job."""
    return [e["error"] for e in read_lines(folder / "events.jsonl") if e["job"] == job and e.get("error")]


def assert_equal(folder: Path, unharmed: Path) -> None:
    """Weights, figures and predictions of all jobs are the same, bit for bit."""
    for job in JOBS:
        ours, theirs = (read_json(place / "jobs" / job / "result.json") for place in (folder, unharmed))
        for key in ("weights_digest", "best_epoch", "val_accuracy", "val_loss", "test_accuracy", "test_loss"):
            assert ours.get(key) == theirs.get(key), (job, key)
        for split in ("val", "test"):
            pair = [np.load(place / "jobs" / job / "predictions" / f"{split}.npz") for place in (folder, unharmed)]
            assert pair[0].files == pair[1].files
            for name in pair[0].files:
                assert pair[0][name].tobytes() == pair[1][name].tobytes(), (job, split, name)


def test_a_region_that_loses_a_worker_twice_while_three_train(tiny: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kill = {"job": "left", "action": "kill"}
    plan(folder, {**kill, "attempt": 1, "step": 3}, {**kill, "attempt": 2, "step": 6})
    output = regionstack(*arguments(tiny, folder))
    assert fired(folder) == [("left", 1, "kill"), ("left", 2, "kill")]
    assert attempts(folder) == {job: 3 if job == "left" else 1 for job in JOBS}
    assert output.count("it is tried again") == 2
    assert all("rank 0 on " in error and "the worker died" in error for error in errors(folder, "left"))
    assert_equal(folder, finished)
    status = regionstack("status", str(folder))
    assert [line for line in status.splitlines() if "left" in line and "done" in line], status
    assert not (folder / "driver.lease").exists(), "given back"
