"""A Ray of the driver's own whose raylet is killed while it starts: it is started once more."""

import subprocess
import sys

import pytest

from bench.soak import raylet_of, send
from cluster.ray_hosts import STARTS
from tests.e2e.test_train_all import wait_until
from tests.worlds import ROOT, environment

PROGRAM = """
import sys
from cluster.config import ClusterConfig
from cluster.ray_hosts import connect
from data_tools.errors import UserError
try:
    connect(ClusterConfig(address="local"))
except UserError as error:
    sys.exit(f"error: {error}")
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
        told = errors.strip().splitlines()[-1]
        assert told.startswith(f"error: Ray could not be started here, tried {STARTS} times: ")
        assert "Traceback" not in errors
