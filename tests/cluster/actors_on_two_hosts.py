"""A pool of actors on a Ray of two hosts (two raylets of one machine); run as a program, prints one JSON object."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from cluster.config import ClusterConfig
from cluster.on_ray.actor_pool import actor_pool
from data_tools.errors import UserError
from launch.cli import main as regionstack

SQUARES = "tests.cluster.targets:squares"


def main(place: Path) -> None:
    """Squares in order, one actor lost; a mistake; then a prediction on both hosts. place: with `run` and `in`."""
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    machines.add_node(num_cpus=2)
    machines.wait_for_nodes()
    config = ClusterConfig(address=machines.address, gpus=0)
    found: dict[str, Any] = {}
    with actor_pool(config, SQUARES, {"dies_at": 5, "mark": str(place / "died")}) as pool:
        found["hosts"] = pool.hosts
        found["squares"] = list(pool.map(range(30)))
        found["left"] = len(pool.hosts)
    with actor_pool(config, SQUARES, {"refuses": 3}) as pool:
        try:
            list(pool.map(range(6)))
        except UserError as error:
            found["refused"] = str(error)
    command = ["predict", str(place / "run"), str(place / "in"), "--csv", str(place / "ray.csv"), "--all"]
    found["status"] = regionstack([*command, "--address", machines.address])
    found["too_many_gpus"] = regionstack([*command, "--address", machines.address, "--gpus", "3"])
    machines.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(Path(sys.argv[1]))
