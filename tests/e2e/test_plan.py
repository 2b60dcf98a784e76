"""What `regionstack plan` predicts before a run against what the run then does."""

import json
from pathlib import Path

from data_tools.files import read_lines
from tests.helpers.commands import regionstack


def test_a_plan_names_the_groups_and_steps_of_the_run(tiny: Path, finished: Path) -> None:
    output = regionstack("plan", "--config", str(tiny), "--json")
    plan, _ = json.JSONDecoder().raw_decode(output[output.index('{\n  "pages"') :])
    started = {event["job"]: event for event in read_lines(finished / "events.jsonl") if event["event"] == "started"}
    assert set(started) == {job["name"] for job in plan["jobs"]}
    for job in plan["jobs"]:
        event = started[job["name"]]
        assert sum(job["group"].values()) == sum(event["group"].values()), job["name"]
        if job["name"] != "stack":
            rows = read_lines(finished / "jobs" / job["name"] / "metrics.jsonl")
            assert (job["epochs"], job["steps"]) == (len(rows), rows[-1]["step"]), job["name"]
    assert [plan["pages"][split] for split in ("train", "val", "test")] == [96, 32, 32]
    assert plan["pages"]["source"].startswith("from the shards in ")
    assert plan["speed"] == "measured here on CPU"
    assert all(job["step_s"] > 0 for job in plan["jobs"] if job["steps"])
    total = plan["total"]
    assert 0 < total["seconds"] < sum(job["seconds"] for job in plan["jobs"]), "the regions run at the same time"
