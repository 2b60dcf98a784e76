"""The address of the Ray cluster to join, found without importing Ray, which takes seconds."""

import contextlib
import os
import socket
from pathlib import Path

from data_tools.errors import UserError

ANSWER_S = 3.0


def current_cluster_file() -> Path:
    """Where `ray start` writes the address of the cluster that it started."""
    return Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"


def address_to_join(wanted: str | None) -> str | None:
    """The address to join for the configured `wanted`: that one, or that of the cluster that runs on this host.

    Null where a private Ray is wanted, or where no cluster runs here.

    Raises:
        UserError: `auto`, and no cluster runs on this host.
    """
    if wanted == "local":
        return None
    if wanted not in (None, "auto"):
        return wanted
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    with contextlib.suppress(OSError):
        address = current_cluster_file().read_text().strip()
        # The file remains after a cluster was killed.
        if address and answers(address):
            return address
    if wanted == "auto":
        raise UserError("cluster.address: auto: no Ray cluster runs on this host; start one with ray up or ray start")
    return None


def answers(address: str) -> bool:
    """Whether something listens at `address`, HOST:PORT."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        return True
    return False
