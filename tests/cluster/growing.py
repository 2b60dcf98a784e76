"""Jobs on a cluster that has no GPU until it is asked for some; run as a program, prints one JSON object.

Ray's own scaler, with hosts that are processes of this machine. It ends every Ray that it sees: run it in a process
namespace of its own.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from cluster.config import ClusterConfig
from cluster.job import JobSpec
from cluster.ray_backend import RayBackend
from cluster.scheduler import run_jobs

PLACE = "tests.cluster.targets:place"
MEMORY = 100 * 2**20
HOST = {"resources": {"CPU": 1, "GPU": 2, "object_store_memory": MEMORY}, "node_config": {}}
CLUSTER = {
    "cluster_name": "growing",
    "max_workers": 3,
    "idle_timeout_minutes": 0.1,
    "provider": {"type": "fake_multinode"},
    "auth": {"ssh_user": "nobody"},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "gpus": {**HOST, "min_workers": 0, "max_workers": 3},
    },
}


def start(folder: Path) -> None:
    """A head of one core, and the scaler that may add three hosts of two GPUs."""
    path = folder / "growing.yaml"
    path.write_text(yaml.safe_dump(CLUSTER))
    environment = {**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    environment["RAY_enable_autoscaler_v2"] = "0"
    command = ["ray", "start", "--head", "--num-cpus=1", f"--object-store-memory={MEMORY}"]
    subprocess.run([*command, f"--autoscaling-config={path}"], env=environment, check=True, stdout=sys.stderr)


def main() -> None:
    """Ask for four GPUs, run two jobs of two at once on the hosts that come; then see the request withdrawn."""
    meeting = Path(sys.argv[1])
    start(meeting.parent)
    config = ClusterConfig(address="auto", request_slots=4, gather_timeout_s=180)
    jobs = [JobSpec(name, PLACE, {"meet": str(meeting), "expect": 4}, workers=2) for name in ("one", "other")]
    with RayBackend.connect(config) as backend:
        slots = [host.slots for host in backend.hosts()]
        outcomes = run_jobs(jobs, backend=backend, retries=config.retries, on_event=lambda event: None)
    with RayBackend.connect(ClusterConfig(address="auto")) as backend:
        until = time.monotonic() + 120
        while len(backend.hosts()) > 1 and time.monotonic() < until:
            time.sleep(0.5)
        left = len(backend.hosts())
    subprocess.run(["ray", "stop", "--force"], check=True, stdout=sys.stderr)
    states = {name: [outcome.state, outcome.error] for name, outcome in outcomes.items()}
    groups = {name: list((outcome.group.hosts if outcome.group else {}).values()) for name, outcome in outcomes.items()}
    sys.stdout.write(json.dumps({"slots": slots, "states": states, "groups": groups, "left": left}) + "\n")


if __name__ == "__main__":
    main()
