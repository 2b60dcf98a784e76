"""What the head does for a client, with a job server that is a list."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.liveness.lease import hold
from cluster.remote import head
from cluster.remote.head import INCOMING, MARK, RUN, SHARED, encoded, main


@dataclass
class Status:
    """A job's status as Ray has it."""

    name: str

    def is_terminal(self) -> bool:
        return self.name != "RUNNING"

    def __str__(self) -> str:
        return self.name


@dataclass
class Job:
    """A job as Ray describes it."""

    submission_id: str
    status: Status
    metadata: dict[str, str]
    driver_exit_code: int | None = None
    message: str = ""


@dataclass
class Server:
    """Ray's job server; logs: what each look at the output brings. The job ends at the last one."""

    listed: list[Job] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    submitted: list[dict[str, Any]] = field(default_factory=list)

    def list_jobs(self) -> list[Job]:
        return self.listed

    def get_job_info(self, job: str) -> Job:
        if len(self.logs) == 1:
            self.listed[0].status = Status("FAILED")
        return self.listed[0]

    def get_job_logs(self, job: str) -> str:
        return self.logs.pop(0)

    def submit_job(self, **job: Any) -> None:
        self.submitted.append(job)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setenv(SHARED, str(tmp_path))
    monkeypatch.setattr(head, "jobs", lambda: found)
    monkeypatch.setattr(head, "POLL_S", 0.0)
    return found


def asked(capsys: pytest.CaptureFixture[str], action: str, **arguments: Any) -> list[dict[str, Any]]:
    """What the client gets."""
    main(action, encoded(arguments))
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(MARK) for line in lines)
    return [json.loads(line.removeprefix(MARK)) for line in lines]


def running(tmp_path: Path, run: str = "runs/a") -> Job:
    return Job("regionstack-1", Status("RUNNING"), {RUN: str(tmp_path / run)})


def test_a_look_reports_what_is_missing_and_what_is_live(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels").mkdir()
    server.listed = [running(tmp_path, "runs/b"), running(tmp_path)]
    server.listed[0].submission_id = "other"
    wanted = {"name": "a", "run": "runs/a", "paths": ["labels", "pages"], "folders": ["pages/scans"]}
    (news,) = asked(capsys, "look", **wanted)
    assert news == {"shared": str(tmp_path), "live": "regionstack-1", "missing": ["pages"]}
    assert (tmp_path / "pages").is_dir()
    assert not (tmp_path / "pages" / "scans").exists()


def test_a_start_unpacks_what_was_sent(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = tmp_path / INCOMING / "a" / "submitted"
    sent.mkdir(parents=True)
    (sent / "a.yaml").write_text("new")
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "a.yaml").write_text("old")
    (news,) = asked(capsys, "start", name="a", run="runs/a", entrypoint="train")
    assert (tmp_path / "submitted" / "a.yaml").read_text() == "new"
    (job,) = server.submitted
    assert job["submission_id"] == news["job"]
    assert (job["entrypoint"], job["metadata"]) == ("train", {RUN: str(tmp_path / "runs/a")})


def test_a_live_run_is_not_started_twice(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.listed = [running(tmp_path)]
    assert asked(capsys, "start", name="a", run="runs/a", entrypoint="train") == [{"job": "regionstack-1"}]
    assert not server.submitted


def test_output_is_sent_from_the_offset_on_to_the_end(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.listed, server.logs = [running(tmp_path)], ["one\n", "one\n", "one\ntwo\r\n"]
    server.listed[0].driver_exit_code = 75
    news = asked(capsys, "follow", job="regionstack-1", offset=2)
    assert [item["text"] for item in news if "text" in item] == ["e\n", "two\r\n"]
    assert news[-1] == {"ended": "FAILED", "status": 75, "message": ""}


def test_a_job_that_the_head_does_not_know_is_lost(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "follow", job="gone", offset=0) == [{"lost": "gone"}]


def test_a_stop_reaches_the_driver_of_the_run(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(capsys, "stop", run="runs/a") == [{"stopped": None}]
    signals: list[int] = []
    (tmp_path / "runs" / "a").mkdir(parents=True)
    with hold(tmp_path / "runs" / "a"):
        monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(pid))
        (news,) = asked(capsys, "stop", run="runs/a")
    assert news == {"stopped": os.getpid()}
    assert signals == [os.getpid()]


def test_a_head_without_a_shared_folder_is_an_error_for_the_client(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(SHARED)
    (news,) = asked(capsys, "stop", run="runs/a")
    assert SHARED in news["error"]
