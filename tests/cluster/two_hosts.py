"""Jobs on a Ray of two hosts (two raylets of one machine); run as a program, prints one JSON object."""

import faulthandler
import json
import logging
import sys
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from cluster.config import ClusterConfig
from cluster.on_ray.backend import RayBackend
from cluster.schedule.job import Event, JobSpec
from cluster.schedule.scheduler import run_jobs

PLACE = "tests.cluster.targets:place"
LONG = "tests.cluster.targets:hangs_at_first"


def main() -> None:
    """Two pairs side by side, one job over both hosts, then jobs that lose a host."""
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
    second = machines.add_node(num_cpus=2, num_gpus=3)
    machines.wait_for_nodes()
    found: dict[str, Any] = {}
    with RayBackend.connect(ClusterConfig(address=machines.address, gpus=0)) as backend:
        found["hosts"] = [[host.name, host.slots] for host in backend.hosts()]
        pairs = [JobSpec(name, PLACE, {}, workers=2) for name in ("one", "other")]
        across = JobSpec("across", PLACE, {}, depends_on=("one", "other"))
        found["placed"] = run(backend, [*pairs, across])

        unlike = [JobSpec("three", PLACE, {}, workers=3), JobSpec("one", PLACE, {}, workers=1)]
        found["unlike"] = run(RayBackend(ClusterConfig(), joined=machines.address), unlike)

        def on_event(event: Event) -> None:
            if event.event == "running" and event.job == "hit" and event.attempt == 1:
                machines.remove_node(second, allow_graceful=False)
            if (event.job, event.event) == ("hit", "retried"):
                host_is_lost.touch()

        # The first host is full, so the second job starts on the host that is removed.
        # It ends when the loss is known: the other job then takes its slots.
        host_is_lost = Path(sys.argv[1] + "-lost")
        stays = JobSpec("stays", PLACE, {"until": str(host_is_lost)}, workers=2)
        hit = JobSpec("hit", LONG, {"mark": sys.argv[1]}, workers=2)
        found["lost"] = run(backend, [stays, hit], on_event=on_event)
        wide = JobSpec("wide", LONG, {"mark": sys.argv[1] + "-wide-"}, global_batch=4)
        found["fewer"] = run_and_lose_a_host(backend, machines, wide)
        four = JobSpec("four", LONG, {"mark": sys.argv[1] + "-four-"}, workers=4)
        found["waited"] = run_and_lose_a_host(backend, machines, four, comes_back=True)
    machines.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


def run_and_lose_a_host(
    backend: RayBackend, machines: Cluster, job: JobSpec, *, comes_back: bool = False
) -> dict[str, Any]:
    """Run the job over two hosts, remove the second in its first attempt; add another one when the job waits for it."""
    second = machines.add_node(num_cpus=2)
    machines.wait_for_nodes()
    heard: list[str] = []
    groups: list[list[int]] = []

    def hear(event: Event) -> None:
        heard.append(event.event)
        if event.event == "running":
            groups.append(sorted(event.group.hosts.values()) if event.group else [])
        if (event.event, event.attempt) == ("running", 1):
            machines.remove_node(second, allow_graceful=False)
        if event.event == "waiting" and comes_back:
            machines.add_node(num_cpus=2)

    return {"heard": heard, "groups": groups} | run(backend, [job], on_event=hear)


def run(backend: RayBackend, jobs: list[JobSpec], *, on_event: Any = lambda event: None) -> dict[str, Any]:
    """Run the jobs; for each its state, attempts, planned hosts, error and the GPUs that its first rank sees."""
    retries = ClusterConfig().retries
    devices: dict[str, str] = {}

    def hear(event: Event) -> None:
        logging.warning("%s: %s, attempt %d %s", event.job, event.event, event.attempt, event.error or "")
        if event.up is not None:
            devices[event.job] = event.up.workers[0].devices
        on_event(event)

    outcomes = run_jobs(jobs, backend=backend, retries=retries, on_event=hear)
    return {
        name: {
            "state": outcome.state,
            "attempts": outcome.attempts,
            "hosts": outcome.group.hosts if outcome.group else None,
            "error": outcome.error,
            "devices": devices.get(name),
        }
        for name, outcome in outcomes.items()
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    # Before the test's limit: a hang then says where it is.
    faulthandler.dump_traceback_later(270, exit=True)
    main()
