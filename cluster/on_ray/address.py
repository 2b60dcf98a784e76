"""Where a Ray cluster is to be joined; known without importing Ray, which takes seconds."""

import contextlib
import os
import socket
from pathlib import Path

from data_tools.errors import UserError

CURRENT_CLUSTER = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
"""Where `ray start` writes the address of the cluster that it started."""
ANSWER_S = 3.0


def address_to_join(wanted: str | None) -> str | None:
    """The address to join where the configuration says `wanted`: that, or the cluster's that runs on this host.

    Null where a Ray of our own is wanted, or where none runs here.

    Raises:
        UserError: `auto`, and no cluster runs here.
    """
    if wanted == "local":
        return None
    if wanted not in (None, "auto"):
        return wanted
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    with contextlib.suppress(OSError):
        address = CURRENT_CLUSTER.read_text().strip()
        # The file outlives a cluster that was killed.
        if address and answers(address):
            return address
    if wanted == "auto":
        raise UserError("cluster.address: auto: no Ray cluster runs on this host; ray up or ray start makes one")
    return None


def answers(address: str) -> bool:
    """Whether something listens at `address`, HOST:PORT."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        return True
    return False
