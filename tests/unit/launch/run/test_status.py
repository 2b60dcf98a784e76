"""The state of a run, read from its folder at any moment."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from data_tools.errors import UserError
from launch.config import load_config, preset_names
from launch.recipe.stages import plan_recipe
from launch.run.attempts import attempts_of
from launch.run.folder import open_run
from launch.run.record import read_run
from launch.run.status import read_status
from launch.run.status_table import print_status
from launch.terminal.wording import clock, duration
from tests.unit.launch.run_folder import START, RunSpec, build

HOLISTIC = ("holistic_128", "holistic_256")


def states(run: Path, *, now: float) -> dict[str, str]:
    """State by job."""
    return {job.name: job.state for job in read_status(run, now=now).jobs}


def printed(run: Path, *, now: float) -> str:
    """The table on a wide terminal without colors."""
    out = io.StringIO()
    print_status(read_status(run, now=now), Console(file=out, width=200))
    return out.getvalue()


def test_a_run_that_is_done(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(pages=32))
    status = read_status(run, now=START + 600)
    assert status.state == "done"
    assert [job.name for job in status.jobs] == [*HOLISTIC, "top", "bottom", "left", "right", "stack"]
    assert {job.state for job in status.jobs} == {"done"}
    assert status.jobs[0].last_checkpoint == "step-00000180"
    assert status.jobs[2].group == {"node1": 2}


def test_a_new_run_has_only_waiting_jobs(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=()))
    assert read_status(run, now=START).state == "waiting"
    assert set(states(run, now=START).values()) == {"waiting"}


def test_a_running_job_is_stale_after_a_while(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=HOLISTIC[:1], running=HOLISTIC[1:], pages=32))
    alive = START + 98 + 160
    assert "3 s ago" in printed(run, now=alive + 3)
    assert "training" not in printed(run, now=alive + 3)
    late = read_status(run, now=alive + 400)
    assert late.jobs[1].state == "running"
    assert late.jobs[1].stale
    assert "no sign of life since" in printed(run, now=alive + 400)
    assert "6 min 40 s" in printed(run, now=alive + 400)


def test_a_starting_job_may_write_nothing_for_longer(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=(), running=("holistic_128",)))
    path = run / "jobs" / "holistic_128" / "heartbeat-rank-0.json"
    path.write_text(json.dumps({"phase": "starting", "time": START + 95}))
    assert not read_status(run, now=START + 95 + 120).jobs[0].stale
    assert read_status(run, now=START + 95 + 301).jobs[0].stale


def test_a_job_whose_heartbeats_continue_without_a_step_is_stale_too(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=(), running=("holistic_128",)))
    path = run / "jobs" / "holistic_128" / "heartbeat-rank-0.json"
    now = START + 500
    for changed, stale in ((now - 30, False), (now - 61, True)):
        path.write_text(json.dumps({"phase": "training", "time": now - 1, "step_time": changed}))
        assert read_status(run, now=now).jobs[0].stale is stale
        assert ("no progress for 1 min 01 s" in printed(run, now=now)) is stale


def test_a_failed_job_shows_its_error(tmp_path: Path) -> None:
    done = (*HOLISTIC, "top", "left", "right")
    run = build(tmp_path / "run", RunSpec(done=done, failed=("bottom",), pages=32))
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"time": START + 400, "event": "skipped", "job": "stack", "error": "bottom failed"}))
        file.write("\n")
    assert read_status(run, now=START + 600).state == "failed"
    assert states(run, now=START + 600)["bottom"] == "failed"
    assert states(run, now=START + 600)["stack"] == "skipped"
    assert "bottom: rank 0 on node1: ValueError: loss is <nan> & not finite" in printed(run, now=START + 600)


def test_what_an_earlier_call_skipped_waits_when_a_later_call_resumes(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=("holistic_128",), failed=("holistic_256",), pages=32))
    events = run / "events.jsonl"
    with events.open("a") as file:
        file.write(json.dumps({"time": START + 300, "event": "skipped", "job": "stack", "error": "no"}) + "\n")
        file.write(json.dumps({"time": START + 310, "event": "started", "job": "top", "group": {"a": 1}}) + "\n")
    assert states(run, now=START + 330)["stack"] == "skipped"
    with events.open("a") as file:
        again = {
            "time": START + 400,
            "event": "started",
            "job": "holistic_256",
            "group": {"a": 1},
            "attempt": 1,
        }
        file.write(json.dumps(again) + "\n")
    assert states(run, now=START + 401)["stack"] == "waiting"
    assert states(run, now=START + 401)["holistic_256"] == "running"


def test_a_stage_started_by_hand_leaves_no_events(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=HOLISTIC[:1], running=HOLISTIC[1:], pages=32))
    (run / "events.jsonl").unlink()
    alive = START + 98 + 160
    assert states(run, now=alive + 5)["holistic_256"] == "running"
    assert states(run, now=alive + 4000)["holistic_256"] == "stopped"
    assert states(run, now=alive + 4000)["holistic_128"] == "done"
    heartbeat = run / "jobs" / "holistic_256" / "heartbeat-rank-0.json"
    heartbeat.write_text(json.dumps(json.loads(heartbeat.read_text()) | {"phase": "failed"}))
    assert states(run, now=alive + 5)["holistic_256"] == "failed"


def test_corrupt_and_unfinished_files_are_reported_and_skipped(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=HOLISTIC[:1], pages=32))
    job = run / "jobs" / "holistic_128"
    (job / "heartbeat-rank-0.json").write_text('{"phase": "tra')
    with (job / "metrics.jsonl").open("a") as file:
        file.write('not json\n{"epoch": 7, "tr')
    (run / "jobs" / ".unfinished-x").mkdir()
    status = read_status(run, now=START + 100)
    assert ".unfinished-x" not in [job.name for job in status.jobs]
    assert len(read_run(run).jobs["holistic_128"].epochs) == 6
    assert status.problems == (
        "holistic_128/metrics.jsonl: skipped 1 corrupt line",
        "holistic_128/heartbeat-rank-0.json: not valid JSON",
    )


def test_another_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run folder"):
        read_status(tmp_path / "absent")
    with pytest.raises(UserError, match="not a run folder"):
        read_status(tmp_path)


def test_attempts_of_a_job() -> None:
    def event(time: float, kind: str, job: str = "a", **more: object) -> dict[str, object]:
        return {"time": time, "event": kind, "job": job, **more}

    events = [
        event(1, "started", group={"h": 1}, slots=["h:0"]),
        event(2, "running"),
        event(3, "retried", error="killed"),
        event(4, "started"),
        event(6, "done", "b"),  # then the driver dies and closes no attempt of a
        event(90, "started"),
        event(95, "done"),
    ]
    found = [(a.number, a.started, a.ended, a.outcome, a.error) for a in attempts_of("a", events)]
    assert found == [(1, 1, 3, "failed", "killed"), (2, 4, 6, "stopped", None), (3, 90, 95, "done", None)]
    assert attempts_of("a", events)[0].slots == ("h:0",)
    assert attempts_of("a", events, signs=[5, 50, 92])[1].ended == 50
    assert attempts_of("c", events) == ()


@pytest.mark.parametrize("preset", preset_names())
def test_jobs_of_a_new_run_are_those_of_the_recipe_in_its_order(tmp_path: Path, preset: str) -> None:
    config = load_config(preset, [f"run.folder={tmp_path / 'run'}"])
    open_run(config)
    assert tuple(read_run(tmp_path / "run").jobs) == plan_recipe(config).job_names


def test_jobs_have_the_order_of_the_recipe_and_not_of_the_file(tmp_path: Path) -> None:
    config = load_config("demo", [f"run.folder={tmp_path / 'run'}"])
    config = replace(config, stages=dict(reversed(config.stages.items())))
    open_run(config)
    jobs = [job.name for job in read_status(tmp_path / "run", now=START).jobs]
    assert jobs == ["holistic_32", "holistic_64", "top", "bottom", "left", "right", "stack"]


def test_a_run_without_a_list_of_jobs_shows_those_that_have_started_until_it_is_resumed(tmp_path: Path) -> None:
    config = load_config("demo", [f"run.folder={tmp_path / 'run'}"])
    run = open_run(config)
    old = {key: value for key, value in json.loads((run / "run.json").read_text()).items() if key != "jobs"}
    (run / "run.json").write_text(json.dumps(old))
    (run / "jobs" / "holistic_32").mkdir(parents=True)
    record = read_run(run)
    assert list(record.jobs) == ["holistic_32"]
    assert [problem.partition(":")[0] for problem in record.problems] == ["run.json"]
    open_run(config)
    record = read_run(run)
    assert (tuple(record.jobs), record.problems) == (plan_recipe(config).job_names, ())
    assert record.run == {**old, "jobs": list(record.jobs)}, "the rest is as it was"


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_names_and_states_are_not_wrapped_on_any_terminal(tmp_path: Path, width: int) -> None:
    out = io.StringIO()
    print_status(read_status(build(tmp_path / "run", RunSpec()), now=START + 600), Console(file=out, width=width))
    for job in (*HOLISTIC, "top", "bottom", "left", "right", "stack"):
        assert re.search(rf"\b{job}\b.* done ", out.getvalue()), job
    assert ("checkpoint" in out.getvalue()) == (width >= 120)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7260, "2 h 01 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_time_of_another_day_has_its_date() -> None:
    assert len(clock(START, START + 1)) == len("12:34:56")
    assert len(clock(START, START + 200_000)) == len("2026-01-01 12:34:56")
