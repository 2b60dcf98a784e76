"""Groups on several hosts: placement of ranks, and loss of a host."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Report of `two_hosts.py`, a separate program because a process can connect to one Ray only."""
    root = Path(__file__).parents[2]
    mark = tmp_path_factory.mktemp("two_hosts") / "mark"
    command = [sys.executable, "-m", "tests.cluster.two_hosts", str(mark)]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def test_a_host_is_a_raylet(found: dict[str, Any]) -> None:
    (first, slots), (second, other_slots) = found["hosts"]
    assert second == f"{first}-2", "two hosts of the same name get different names"
    assert slots == other_slots == 2


def test_a_group_that_fits_stays_on_one_host_and_a_larger_one_spans_two(found: dict[str, Any]) -> None:
    first, second = (name for name, _ in found["hosts"])
    placed = found["placed"]
    assert {name: job["state"] for name, job in placed.items()} == dict.fromkeys(placed, "done")
    assert [job["hosts"] for job in placed.values()] == [{first: 2}, {second: 2}, {first: 2, second: 2}]


def test_gpu_groups_on_unlike_hosts(found: dict[str, Any]) -> None:
    """One GPU on the first host, three on the second: a group of three fits only on the second."""
    first, second = (name for name, _ in found["hosts"])
    three, one = found["unlike"]["three"], found["unlike"]["one"]
    assert (three["state"], three["hosts"], one["state"], one["hosts"]) == ("done", {second: 3}, "done", {first: 1})
    assert sorted(three["devices"].split(",")) == ["0", "1", "2"], "each rank has its own GPU"
    assert one["devices"] == "0"


def test_a_job_moves_off_a_lost_host_and_its_neighbor_does_not_notice(found: dict[str, Any]) -> None:
    first = found["hosts"][0][0]
    hit, stays = found["lost"]["hit"], found["lost"]["stays"]
    assert (hit["state"], hit["attempts"], hit["hosts"]) == ("done", 2, {first: 2}), hit["error"]
    assert (stays["state"], stays["attempts"]) == ("done", 1)


def test_a_job_continues_with_fewer_workers_where_a_host_is_lost_and_its_batch_divides(found: dict[str, Any]) -> None:
    fewer = found["fewer"]
    assert (fewer["wide"]["state"], fewer["wide"]["attempts"]) == ("done", 2), fewer["wide"]["error"]
    assert fewer["groups"] == [[2, 2], [2]]
    assert "waiting" not in fewer["heard"]


def test_a_job_that_needs_more_slots_than_are_left_waits_for_a_host(found: dict[str, Any]) -> None:
    waited = found["waited"]
    assert waited["heard"] == ["started", "running", "retried", "waiting", "started", "running", "done"]
    assert (waited["four"]["state"], waited["groups"]) == ("done", [[2, 2], [2, 2]]), waited["four"]["error"]
