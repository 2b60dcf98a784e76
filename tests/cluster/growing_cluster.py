"""Four groups of two GPUs on a Ray cluster that starts without GPUs and that the autoscaler grows; prints one JSON
object.

Runs in process and network namespaces, with a RAY_TMPDIR of its own: `ray start` takes fixed ports there, and all that
it starts ends with the namespace. Hosts are raylets of this machine, from the provider that Ray tests itself with.
"""

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster.config import ClusterConfig
from cluster.on_ray.backend import RayBackend
from cluster.schedule.job import JobOutcome, JobSpec
from cluster.schedule.scheduler import run_jobs

REGIONS = ("top", "bottom", "left", "right")
RAY = [str(Path(sys.executable).with_name("ray"))]
STORE = 100 * 2**20
COMMANDS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
)  # fmt: skip
GROWS = {
    "cluster_name": "growing",
    "max_workers": 8,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
    # All hosts have the same address; with these checks the autoscaler would try to repair them.
    "provider": {
        "type": "fake_multinode",
        "launch_multiple": True,
        "worker_liveness_check": False,
        "disable_node_updaters": True,
    },
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "gpu-host": {
            "resources": {"CPU": 2, "GPU": 2, "object_store_memory": STORE},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 8,
        },
    },
} | {name: [] for name in COMMANDS}


def main(folder: Path) -> None:
    """Start the head, run four jobs whose workers meet, and read the requests to the autoscaler."""
    start_head(folder)
    meet = folder / "meet"
    meet.mkdir()
    payload = {"meet": str(meet), "expect": 2 * len(REGIONS)}
    jobs = [JobSpec(name, "tests.cluster.targets:place", payload) for name in REGIONS]
    config = ClusterConfig(address="auto", request_slots=8)
    found: dict[str, Any] = {"asked_before": asked_for(0)}
    with RayBackend.connect(config) as backend:
        found["hosts"] = [[host.name, host.slots] for host in backend.hosts()]
        found["asked"] = asked_for(8)
        outcomes = run_jobs(jobs, backend=backend, retries=config.retries, on_event=lambda event: None)
    found["jobs"] = {name: describe(outcome) for name, outcome in outcomes.items()}
    found["asked_after"] = asked_for(0)
    found["asked_by_the_killed"], found["asked_after_its_end"] = kill_a_driver()
    log = Path(os.environ["RAY_TMPDIR"], "ray/session_latest/logs/monitor.log").read_text()
    found["launches"] = [int(count) for count in re.findall(r"Adding (\d+) node\(s\) of type gpu-host", log)]
    sys.stdout.write(json.dumps(found) + "\n")


HOLD = """
import ray, sys, threading
from cluster.on_ray.machines import capacity
ray.init(address="auto", log_to_driver=False)
with capacity.held([{"GPU": 1.0}] * 3, stale_s=3, renew_s=0.5, name="impatient"):
    print("held", flush=True)
    threading.Event().wait()
"""


def kill_a_driver() -> tuple[int, int]:
    """GPUs that a driver requests, and those that are still requested after SIGKILL."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        while driver.stdout.readline() not in ("held\n", ""):
            pass
        before = asked_for(3)
        driver.kill()
    return before, asked_for(0)


def describe(outcome: JobOutcome) -> dict[str, Any]:
    """State, attempts, error, and number of slots on each host of a job."""
    hosts = list(outcome.group.hosts.values()) if outcome.group else None
    return {"state": outcome.state, "attempts": outcome.attempts, "hosts": hosts, "error": outcome.error}


def start_head(folder: Path) -> None:
    """Start a head without a GPU, and the autoscaler."""
    config = folder / "scaler.yaml"
    config.write_text(json.dumps(GROWS))
    options = ["--head", "--num-cpus=1", "--num-gpus=0", f"--object-store-memory={STORE}", "--include-dashboard=false"]
    subprocess.run([*RAY, "start", f"--autoscaling-config={config}", *options], check=True, stdout=sys.stderr)


def asked_for(expected: int) -> int:
    """GPUs requested from the autoscaler, as soon as they equal `expected`, or after a minute."""
    until = time.monotonic() + 60
    while True:
        status = subprocess.run([*RAY, "status"], check=True, capture_output=True, text=True).stdout
        match = re.search(r"\{'GPU': 1(?:\.0)?\}: (\d+) from request_resources\(\)", status)
        asked = int(match[1]) if match else 0
        if asked == expected or time.monotonic() > until:
            return asked
        time.sleep(0.5)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(Path(sys.argv[1]))
