"""Jobs on a Ray of two hosts (two raylets of one machine); run as a program, prints one JSON object."""

import json
import logging
import sys
from typing import Any

from ray.cluster_utils import Cluster

from cluster.config import ClusterConfig
from cluster.job import Event, JobSpec
from cluster.ray_backend import RayBackend
from cluster.scheduler import run_jobs

PLACE = "tests.cluster.targets:place"


def main() -> None:
    """One wave of pairs, one job over both hosts, then a host that goes away under a job."""
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    second = machines.add_node(num_cpus=2)
    machines.wait_for_nodes()
    found: dict[str, Any] = {}
    with RayBackend.connect(ClusterConfig(address=machines.address)) as backend:
        found["hosts"] = [[host.name, host.slots] for host in backend.hosts()]
        pairs = [JobSpec(name, PLACE, {}, workers=2) for name in ("one", "other")]
        across = JobSpec("across", PLACE, {}, needs=("one", "other"))
        found["placed"] = run(backend, [*pairs, across])

        def on_event(event: Event) -> None:
            if event.event == "running" and event.job == "hit" and event.attempt == 1:
                machines.remove_node(second, allow_graceful=False)

        # The first host is full, so that the second job starts on the one that goes away.
        stays = JobSpec("stays", PLACE, {"seconds": 20.0}, workers=2)
        hit = JobSpec("hit", "tests.cluster.targets:long_at_first", {"mark": sys.argv[1]}, workers=2)
        found["lost"] = run(backend, [stays, hit], on_event=on_event)
    machines.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


def run(backend: RayBackend, jobs: list[JobSpec], *, on_event: Any = lambda event: None) -> dict[str, Any]:
    """Run the jobs; for each its state, attempts, hosts by the plan, and nodes that Ray put its ranks on."""
    retries = ClusterConfig().retries
    outcomes = run_jobs(jobs, backend=backend, retries=retries, on_event=on_event)
    return {
        name: {
            "state": outcome.state,
            "attempts": outcome.attempts,
            "hosts": outcome.group.hosts if outcome.group else None,
            "error": outcome.error,
        }
        for name, outcome in outcomes.items()
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
