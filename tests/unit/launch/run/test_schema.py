"""The schema of a run folder names the keys that are written."""

import json
from pathlib import Path

from cluster.schedule.job import Event, Started, Worker
from cluster.schedule.slots import Group, Slot
from launch.config import load_config
from launch.run.folder import open_run
from launch.run.model import KEYS
from launch.run.schema import EventRecord, RunInfo, WorkerInfo


def test_events_have_the_keys_of_their_schema() -> None:
    group = Group((Slot("node1", 0), Slot("node1", 1)))
    workers = tuple(Worker(rank, "node1", 100 + rank, "-1", 2.5, 7, "boot") for rank in range(2))
    up = Started("top", workers, placed_s=0.1, seconds=9.0)
    record = Event(1.0, "running", "top", group=group, attempt=1, error="none", up=up).record()
    assert {*record, "owner"} == set(EventRecord.__annotations__), "a driver is no owner"
    assert [set(worker) for worker in record["workers"]] == [set(WorkerInfo.__annotations__)] * 2


def test_run_json_has_the_keys_of_its_schema(tmp_path: Path) -> None:
    run = open_run(load_config("demo", [f"run.folder={tmp_path}"]))
    written = set(json.loads((run / "run.json").read_text()))
    assert written | set(KEYS) == set(RunInfo.__annotations__)
