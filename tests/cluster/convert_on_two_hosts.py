"""`regionstack convert` beside a Ray of two hosts (two raylets of one machine); run as a program."""

import subprocess
import sys
from pathlib import Path

from ray.cluster_utils import Cluster


def main(config: str) -> int:
    """Run the command as a user does, by the cluster's address; the command inherits this program's output."""
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    machines.add_node(num_cpus=2)
    machines.wait_for_nodes()
    command = [str(Path(sys.executable).parent / "regionstack"), "convert", "--config", config]
    address = ["--set", f"cluster.address={machines.address}"]
    status = subprocess.run([*command, *address], check=False, timeout=250).returncode
    machines.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
