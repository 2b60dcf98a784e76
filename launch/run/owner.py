"""The process that trains a job without a driver, the first rank of a horovodrun world, as the job's event names it."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cluster.liveness.process import Identity, is_alive, machine, own_identity

SILENT_S = 60.0
"""A job rewrites its heartbeat every few seconds; after a minute without, its process on another host is gone."""


def own_record() -> dict[str, Any]:
    """This process as an event's `owner`."""
    return asdict(own_identity())


def owner_of(event: Mapping[str, Any]) -> Identity | None:
    """The owner that an event names; None without one, or of an event that is corrupt."""
    try:
        return Identity(**event["owner"])
    except (KeyError, TypeError):
        return None


def is_gone(owner: Identity, *, last_sign: float | None, now: float | None = None) -> bool:
    """Whether the owner has ended. On this machine its process shows it, on another one the job's last sign of life.

    last_sign, now: unix seconds; None: no sign yet, the current time.
    """
    if owner.machine == machine():
        return not is_alive(owner.pid, owner.ticks)
    moment = time.time() if now is None else now
    return last_sign is not None and moment - last_sign > SILENT_S
