"""The driver's local Ray: when its raylet is killed during start-up, the driver starts Ray again."""

import contextlib
import select
import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak import raylet_of, send
from cluster.on_ray.hosts import STARTS
from data_tools.cores import available_cores
from tests.helpers.commands import ROOT, environment
from tests.helpers.waiting import wait_until

PROGRAM = """
import sys
from cluster.config import ClusterConfig
from cluster.on_ray.hosts import connect
from data_tools.errors import UserError
try:
    connect(ClusterConfig(address="local"))
except UserError as error:
    sys.exit(f"error: {error}")
print("accepted", flush=True)
import ray
print("slots:", ray.cluster_resources()["CPU"] > 0)
"""


@pytest.mark.parametrize("kills", [1, STARTS])
def test_a_raylet_that_dies_while_it_starts(kills: int) -> None:
    killed: set[int] = set()

    def kill_another() -> bool:
        raylet = raylet_of(driver.pid)
        if raylet is not None and raylet not in killed and send(raylet, 9):
            killed.add(raylet)
        return len(killed) == kills or driver.poll() is not None

    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as driver:
        wait_until(kill_another)
        output, errors = driver.communicate(timeout=240)
    assert len(killed) == kills, errors
    if kills < STARTS:
        assert driver.returncode == 0, errors
        assert "slots: True" in output
        assert "Traceback" not in errors
    else:
        assert driver.returncode == 1
        last = errors.strip().splitlines()[-1]
        assert last.startswith(f"error: Ray could not be started on this host, tried {STARTS} times: ")
        assert "Traceback" not in errors


def test_the_driver_is_accepted_before_a_worker_per_core_has_started() -> None:
    """If the driver were accepted only after a worker per core had started, a raylet lost in between would kill it.

    Under load, Ray starts a first worker after it has accepted the driver and before `connect` returns.
    """
    raylets: set[int] = set()
    workers: set[int] = set()

    def look() -> bool:
        raylet = raylet_of(driver.pid)
        found = workers_of(raylet) if raylet is not None else []
        if select.select([driver.stdout], [], [], 0)[0]:
            return True  # accepted, or ended; what was found may have started after that
        raylets.update([raylet] if raylet is not None else [])
        workers.update(found)
        return False

    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE
    ) as driver:
        wait_until(look)
        assert driver.communicate()[0] == "accepted\nslots: True\n"
    assert len(raylets) == 1
    assert len(workers) < available_cores()


def workers_of(raylet: int) -> list[int]:
    """Process ids of the Ray workers that the raylet started."""
    children = Path(f"/proc/{raylet}/task/{raylet}/children")
    found = []
    with contextlib.suppress(OSError):
        for child in map(int, children.read_text().split()):
            if b"default_worker.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found
