"""A job on two spot machines (raylets of this machine), one of which is taken back; prints one JSON object."""

import http.server
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from cluster.config import ClusterConfig
from cluster.liveness.notice import CLOUD, METADATA
from cluster.on_ray.backend import RayBackend
from cluster.schedule.job import Event, JobSpec
from cluster.schedule.scheduler import run_jobs

taken = threading.Event()


class Answers(http.server.BaseHTTPRequestHandler):
    """Google's metadata server."""

    def do_GET(self) -> None:
        """Say whether the machine is preempted."""
        text = b"TRUE" if taken.is_set() else b"FALSE"
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def main(folder: Path) -> None:
    """Start the hosts, the job on the second one, and give notice when it runs."""
    os.environ[CLOUD] = "gcp"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "env_vars": {CLOUD: ""}})
        address = {METADATA: f"http://127.0.0.1:{server.server_port}"}
        machines.add_node(num_cpus=2, env_vars={CLOUD: "gcp"} | address)
        machines.wait_for_nodes()
        sys.stdout.write(json.dumps(run(machines, folder)) + "\n")
        machines.shutdown()


def run(machines: Cluster, folder: Path) -> dict[str, Any]:
    """What the job and its events say."""
    heard: list[list[Any]] = []

    def hear(event: Event) -> None:
        heard.append([event.event, event.group.hosts if event.group else None, event.error])
        if event.event == "running":
            taken.set()
        if event.event == "waiting":
            machines.add_node(num_cpus=2, env_vars={CLOUD: ""})

    # Only the second host has room for two ranks.
    job = JobSpec("top", "tests.cluster.targets:saves_on_request", {"folder": str(folder)}, workers=2)
    config = ClusterConfig(address=machines.address, gpus=0, max_failures=0)
    with RayBackend.connect(config) as backend:
        (outcome,) = run_jobs([job], backend=backend, retries=config.retries, on_event=hear).values()
    return {"heard": heard, "state": outcome.state, "attempts": outcome.attempts, "value": outcome.value}


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(Path(sys.argv[1]))
