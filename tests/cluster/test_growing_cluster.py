"""On a cluster that Ray's autoscaler grows, a run requests all slots at once and withdraws the request at the end."""

import json
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from tests.cluster.rack import ROOT, RackError, install_tools

REGIONS = ("top", "bottom", "left", "right")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Report of `growing_cluster.py`, run in its own namespaces."""
    try:
        install_tools()
    except RackError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("growing")
    program = shlex.join([sys.executable, "-m", "tests.cluster.growing_cluster", str(folder)])
    inside = f"ip link set lo up && exec {program}"
    with tempfile.TemporaryDirectory(prefix="rs-") as for_ray:
        ended = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", inside],
            cwd=ROOT,
            env=os.environ | {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_FAKE_CLUSTER": "1",
                "RAY_TMPDIR": for_ray,
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            },
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def test_all_slots_are_requested_at_once(found: dict[str, Any]) -> None:
    assert (found["asked_before"], found["asked"]) == (0, 8)
    assert found["launches"][0] == 4, "the autoscaler saw the complete demand at its first update"
    assert sorted(slots for _, slots in found["hosts"]) == [0, 2, 2, 2, 2], "the head has no GPU"


def test_the_four_groups_ran_at_once_each_on_a_new_host(found: dict[str, Any]) -> None:
    """The jobs succeed only if all eight workers meet."""
    assert found["jobs"] == {name: {"state": "done", "attempts": 1, "hosts": [2], "error": None} for name in REGIONS}


def test_the_request_is_withdrawn_at_the_end(found: dict[str, Any]) -> None:
    assert found["asked_after"] == 0


def test_the_request_of_a_killed_driver_is_withdrawn(found: dict[str, Any]) -> None:
    assert (found["asked_by_the_killed"], found["asked_after_its_end"]) == (3, 0)
