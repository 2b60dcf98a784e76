"""The address of the Ray cluster to join, found without importing Ray, which takes seconds."""

import logging
import os
import socket
from pathlib import Path
from typing import Literal

from cluster.on_ray.greeting import grpc_answers
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

Answer = Literal["ray", "other", "nothing"]

CONNECT_S = 3.0
REPLY_S = 10.0
"""Time for a reply of a head process that is busy; it greets at once."""
TLS = "RAY_USE_TLS"


_stale: set[str] = set()
"""Addresses of `ray_current_cluster` at which this process has found something else than Ray."""


def system_folder() -> Path:
    """The folder in which Ray makes its own folder `ray`, in the order in which Ray looks."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")


def current_cluster_file() -> Path:
    """Where `ray start` writes the address of the cluster that it started."""
    return system_folder() / "ray" / "ray_current_cluster"


def address_to_join(wanted: str | None) -> str | None:
    """The address to join for the configured `wanted`: that one, or that of the cluster that runs on this host.

    Null where a private Ray is wanted, or where no cluster runs here.

    Raises:
        UserError: `auto`, and no cluster runs on this host; or RAY_ADDRESS names no Ray.
    """
    if wanted in (None, "auto"):
        given = os.environ.get("RAY_ADDRESS") or None
        if given not in (None, "auto", "local"):
            require_ray(given, named_by="RAY_ADDRESS")
            return given
        wanted = wanted or given
    if wanted == "local":
        return None
    if wanted not in (None, "auto"):
        return wanted
    address = _current_cluster()
    if address is None and wanted == "auto":
        raise UserError("cluster.address: auto: no Ray cluster runs on this host; start one with ray up or ray start")
    return address


def _current_cluster() -> str | None:
    """The address of the cluster that `ray start` has started here; the file remains after a cluster was killed."""
    path = current_cluster_file()
    try:
        address = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not address or address in _stale:
        return None
    found = what_answers(address)
    if found == "other":
        # Several parts of a command ask for the address, and a service that never answers takes a while.
        _stale.add(address)
        logger.warning("%s: is stale: something else than Ray listens at %s; it is ignored", path, address)
    return address if found == "ray" else None


def require_ray(address: str, *, named_by: str) -> None:
    """Check within seconds that Ray's head process may be at `address`, before Ray waits for it for minutes.

    named_by: the setting or variable that holds the address.

    Raises:
        UserError: nothing answers, or something else than Ray does.
    """
    if "://" in address:
        raise UserError(f"{named_by}: {address}: give HOST:PORT of the head node; Ray Client is not supported")
    found = what_answers(address)
    if found == "nothing":
        raise UserError(f"{named_by}: {address}: nothing answers there; is the cluster up (ray status)?")
    if found == "other":
        raise UserError(
            f"{named_by}: {address}: something else than Ray answers there; give HOST:PORT of the head node, port "
            "6379 unless it was started with another one"
        )


def answers(address: str) -> bool:
    """Whether Ray's head process may be at `address`, HOST:PORT."""
    return what_answers(address) == "ray"


def what_answers(address: str, *, connect_s: float = CONNECT_S, reply_s: float = REPLY_S) -> Answer:
    """What listens at HOST:PORT, by a call of gRPC that Ray's head process answers.

    connect_s: seconds for a connection, and then for the greeting. Behind TLS, whatever accepts a connection is `ray`.
    """
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=connect_s)
    except (OSError, ValueError, OverflowError):
        return "nothing"
    with connection:
        if os.environ.get(TLS, "0") not in ("", "0"):
            return "ray"
        return "ray" if grpc_answers(connection, address, reply_s=reply_s) else "other"
