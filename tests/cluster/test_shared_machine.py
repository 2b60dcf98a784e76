"""A private Ray on a machine as people have it: few cores, a path that is too long, something else at the address."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, environment

PROGRAM = """
import logging, sys
from cluster.config import ClusterConfig
from cluster.on_ray.address import what_answers
from cluster.on_ray.hosts import Nodes, connect
from data_tools.errors import UserError
logging.basicConfig(level=logging.WARNING, format="%(message)s")
config = ClusterConfig()
try:
    connect(config)
except UserError as error:
    sys.exit(f"error: {error}")
import ray
print("slots", [node.slots for node in Nodes(config).alive()])
print("answers", what_answers(ray.get_runtime_context().gcs_address))
print("folder", ray._private.worker._global_node.get_temp_dir_path())
"""


def connected(variables: dict[str, str], *, before: tuple[str, ...] = (), status: int = 0) -> tuple[str, str]:
    env = {name: value for name, value in environment().items() if name not in ("RAY_ADDRESS", "TMPDIR")}
    command = [*before, sys.executable, "-c", PROGRAM]
    ended = subprocess.run(
        command, cwd=ROOT, env=env | variables, text=True, capture_output=True, check=False, timeout=240
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout, ended.stderr


def test_one_core_no_home_and_a_folder_that_is_too_long(tmp_path: Path) -> None:
    """On one core of the machine, with a path in which Ray's sockets do not fit, and nowhere to keep Ray's token."""
    long, no_home = tmp_path / ("long" * 20), tmp_path / "file"
    no_home.touch()
    core = str(min(os.sched_getaffinity(0)))
    printed, errors = connected({"RAY_TMPDIR": str(long), "HOME": str(no_home)}, before=("taskset", "-c", core))
    lines = dict(line.split(" ", 1) for line in printed.splitlines())
    assert lines["slots"] == "[1]"
    assert lines["answers"] == "ray", "the greeting by which a stale address is known"
    assert not lines["folder"].startswith(str(long))
    (line,) = [line for line in errors.splitlines() if str(long) in line]
    assert lines["folder"].rpartition("/")[0] in line


@pytest.mark.parametrize("kind", ["silent", "http2"])
def test_something_else_at_the_address_is_one_line_within_seconds(kind: str) -> None:
    """A service that says nothing, and one that speaks HTTP/2 as Ray does and is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        program = [sys.executable, "-c", OTHER, str(server.fileno()), kind]
        with subprocess.Popen(program, pass_fds=(server.fileno(),)) as other:
            try:
                began = time.monotonic()
                _, errors = connected({"RAY_ADDRESS": address}, status=1)
                seconds = time.monotonic() - began
            finally:
                other.kill()
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert address in line
    assert "Traceback" not in errors
    assert seconds < 20


OTHER = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as server:
    kept = []
    while True:
        kept.append(server.accept()[0])
        if sys.argv[2] == "http2":
            kept[-1].sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
"""
