"""A spot machine that its cloud takes back: its job saves, continues on another host, and no failure is counted."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Report of `spot_hosts.py`, a separate program because a process can connect to one Ray only."""
    command = [sys.executable, "-m", "tests.cluster.spot_hosts", str(tmp_path_factory.mktemp("spot"))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def test_the_job_saves_and_continues_on_another_host(found: dict[str, Any]) -> None:
    assert (found["state"], found["attempts"]) == ("done", 2), found
    assert found["value"] == {"saved_by_the_first": 2}, "both ranks saved before they left"
    groups = [group for event, group, _ in found["heard"] if event == "running"]
    first, second = (set(group) for group in groups)
    assert first.isdisjoint(second), "nothing is started on the machine that will be gone"


def test_the_notice_is_no_failure_of_the_job(found: dict[str, Any]) -> None:
    """None was tolerated here."""
    (why,) = [error for event, _, error in found["heard"] if event == "retried"]
    assert "Google preempts it; saved" in why
