"""The state of jobs that a horovodrun world trains without a driver: running, or how they ended."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from cluster.liveness.process import own_identity
from data_tools.errors import Stopped, UserError
from data_tools.files import append_line, read_lines
from launch.config import load_config
from launch.recipe.stages import plan_recipe
from launch.run.status import RunStatus, read_status
from launch.watching.progress.world import WorldProgress
from tests.unit.launch.run_folder import START, RunSpec, build

HOLISTIC = ("holistic_128", "holistic_256")
ALIVE = START + 98 + 160
"""When the running job of the built folder last gave a sign of life."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = build(tmp_path / "run", RunSpec(done=HOLISTIC[:1], running=HOLISTIC[1:], pages=32))
    (folder / "events.jsonl").unlink()
    return folder


def start(run: Path, job: str, **owner: object) -> None:
    """Record that a world has started `job`."""
    found = asdict(own_identity()) | owner
    append_line(
        run / "events.jsonl", {"time": START, "event": "started", "job": job, "group": {"a": 2}, "owner": found}
    )


def end(run: Path, job: str, kind: str) -> None:
    append_line(run / "events.jsonl", {"time": START + 1, "event": kind, "job": job})


def state_of(status: RunStatus, job: str) -> str:
    return next(found.state for found in status.jobs if found.name == job)


@pytest.fixture(scope="module")
def dead() -> int:
    """The pid of a process that was killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.kill()
        process.wait()
    return process.pid


def test_a_world_that_trains(run: Path) -> None:
    start(run, HOLISTIC[1])
    status = read_status(run, now=ALIVE + 5)
    assert (status.state, state_of(status, HOLISTIC[1])) == ("running", "running")
    assert status.driver is not None
    assert f"process {os.getpid()}" in status.driver.text


def test_a_world_that_was_killed_is_not_running_a_second_later(run: Path, dead: int) -> None:
    start(run, HOLISTIC[1], pid=dead, ticks=1)
    status = read_status(run, now=ALIVE + 1)
    assert (status.state, state_of(status, HOLISTIC[1])) == ("stopped", "stopped")
    assert status.driver is not None
    assert status.driver.gone
    assert "has died; run the same command again" in status.driver.text


@pytest.mark.parametrize(("after_s", "state"), [(5, "running"), (65, "stopped")])
def test_a_world_on_another_host_is_known_by_its_heartbeats(run: Path, after_s: float, state: str) -> None:
    start(run, HOLISTIC[1], machine="another boot", host="node9", pid=12)
    assert read_status(run, now=ALIVE + after_s).state == state


@pytest.mark.parametrize(("kind", "state"), [("failed", "failed"), ("stopped", "stopped")])
def test_how_a_world_ended(run: Path, dead: int, kind: str, state: str) -> None:
    start(run, HOLISTIC[1], pid=dead, ticks=1)
    end(run, HOLISTIC[1], kind)
    status = read_status(run, now=ALIVE + 1)
    assert (status.state, state_of(status, HOLISTIC[1]), status.driver) == (state, state, None)


def test_between_two_jobs_a_world_runs_as_long_as_its_process(tmp_path: Path, dead: int) -> None:
    run = build(tmp_path / "run", RunSpec(done=HOLISTIC[:1], pages=32))
    (run / "events.jsonl").unlink()
    start(run, HOLISTIC[0])
    end(run, HOLISTIC[0], "done")
    assert read_status(run, now=START + 96).state == "running"
    start(run, HOLISTIC[0], pid=dead, ticks=1)
    end(run, HOLISTIC[0], "done")
    assert read_status(run, now=START + 96).state == "waiting", "for somebody to train the rest"


def test_two_worlds_on_one_run_are_distinguished_by_job(run: Path, dead: int) -> None:
    start(run, "top", pid=dead, ticks=1)
    start(run, HOLISTIC[1])
    status = read_status(run, now=ALIVE + 5)
    assert (state_of(status, "top"), state_of(status, HOLISTIC[1])) == ("stopped", "running")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, "done"),
        (Stopped("saved"), "stopped"),
        (UserError("fix this"), "failed"),
        (RuntimeError("Connection closed by peer"), "failed"),
        (KeyboardInterrupt(), "stopped"),
    ],
)
def test_the_first_rank_records_how_each_job_ended(
    tmp_path: Path, error: BaseException | None, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = plan_recipe(load_config("demo", [f"run.folder={tmp_path}"]))
    for first in (True, False):
        try:
            with WorldProgress(tmp_path, recipe, first=first) as progress, progress.job("holistic_32"):
                if error is not None:
                    raise error
        except BaseException as raised:  # noqa: BLE001
            assert raised is error
    events = [(event["event"], event["job"]) for event in read_lines(tmp_path / "events.jsonl")]
    assert events == [("started", "holistic_32"), (kind, "holistic_32")]
    assert "holistic_32: started on" in capsys.readouterr().out


def test_a_full_disk_that_takes_no_record_does_not_hide_the_error_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = plan_recipe(load_config("demo"))

    def full(folder: Path, record: object) -> None:
        raise OSError(27, "File too large")

    with (
        pytest.raises(UserError, match="make room"),
        WorldProgress(tmp_path, recipe, first=True) as progress,
        progress.job("holistic_32"),
    ):
        monkeypatch.setattr("launch.watching.progress.world.record_event", full)
        raise UserError("step-00000005 cannot be written: make room")
