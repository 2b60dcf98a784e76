"""The driver in `regionstack status`, from its lease."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cluster.liveness.lease import LEASE, STALE_S, hold
from cluster.liveness.process import own_identity
from data_tools.files import append_line, write_json
from launch.run.status import read_status
from launch.run.status_table import print_status
from tests.unit.launch.run_folder import START, RunSpec, build

HOLISTIC = ("holistic_128", "holistic_256")
ALIVE = START + 98 + 160
"""When the running job of the built folder last gave a sign of life."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return build(tmp_path / "run", RunSpec(done=HOLISTIC[:1], running=HOLISTIC[1:], pages=32))


def printed(run: Path, now: float) -> str:
    out = io.StringIO()
    print_status(read_status(run, now=now), Console(file=out, width=200))
    return out.getvalue()


def leave_lease(run: Path, **owner: object) -> None:
    found = vars(own_identity()) | owner
    write_json(run / LEASE, {"token": "t", "owner": found, "taken": ALIVE})
    os.utime(run / LEASE, (ALIVE, ALIVE))


def test_a_living_driver(run: Path) -> None:
    with hold(run):
        assert f"driver: process {os.getpid()} on" in printed(run, ALIVE + 3)
        assert read_status(run, now=ALIVE + 3).state == "running"
    assert "driver:" not in printed(run, ALIVE + 3), "the lease was released"


def test_jobs_of_a_dead_driver_are_stopped(run: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    leave_lease(run, pid=gone.pid, ticks=1)
    assert read_status(run, now=ALIVE + 3).jobs[1].state == "running", "its workers need a moment to notice"
    status = read_status(run, now=ALIVE + 15)
    assert (status.state, status.jobs[1].state) == ("stopped", "stopped")
    assert "has died; run the same command again to resume" in printed(run, ALIVE + 15)


def test_a_driver_on_another_machine_is_known_by_its_lease(run: Path) -> None:
    leave_lease(run, host="node9", machine="another boot", pid=12)
    assert "driver: process 12 on node9, heard of 5 s ago" in printed(run, ALIVE + 5)
    late = ALIVE + 2 * STALE_S + 1
    assert "driver: process 12 on node9, last heard of 1 min 01 s ago" in printed(run, late)
    assert read_status(run, now=late).state == "stopped"


def test_a_retry_is_counted_and_its_reason_shown_while_the_job_runs_again(run: Path) -> None:
    job = HOLISTIC[1]
    error = "rank 1 on node1: it hangs: in training, step 7 for 301 s, silent for 300 s (failed, 1 of 3 times allowed)"
    append_line(run / "events.jsonl", {"time": ALIVE, "event": "retried", "job": job, "attempt": 1, "error": error})
    append_line(run / "events.jsonl", {"time": ALIVE, "event": "started", "job": job, "attempt": 2, "group": {"a": 1}})
    status = read_status(run, now=ALIVE + 3).jobs[1]
    assert (status.state, status.attempts, status.retries) == ("running", 2, 1)
    assert f"{job}: {error}" in printed(run, ALIVE + 3)


def test_a_job_that_waits_for_hosts_shows_why(run: Path) -> None:
    error = "top needs 4 slots, and 3 are left without b"
    append_line(run / "events.jsonl", {"time": ALIVE, "event": "waiting", "job": "top", "error": error})
    status = {job.name: job for job in read_status(run, now=ALIVE + 3).jobs}["top"]
    assert (status.state, status.error) == ("waiting", error)


def test_a_stopped_run(run: Path) -> None:
    append_line(run / "events.jsonl", {"time": ALIVE, "event": "stopped", "job": HOLISTIC[1], "attempt": 1})
    status = read_status(run, now=ALIVE + 3)
    assert (status.state, status.jobs[1].state) == ("stopped", "stopped")
