"""The lease of a folder: one driver at a time, on any host; a stale lease is taken over.

`driver.lease` names its owner in plain JSON, with a unique token, and is never rewritten; the owner renews it by
touching the file. On the owner's host a look at the process shows whether it is alive. On another host a pid means
nothing and clocks differ, so the file is watched for a while. Whoever takes a lease over replaces the file: the old
owner and the workers that it started (see `cluster.liveness.fence`) then find a token that is not theirs, and exit.
"""

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cluster.liveness.fence import Fence
from cluster.liveness.process import Identity, is_alive, is_stopped, own_identity
from data_tools.errors import UserError
from data_tools.files import write_json

logger = logging.getLogger(__name__)

LEASE = "driver.lease"
LOCK_FILE = "driver.lock"
"""Locked while a process examines or takes the lease. File systems without locks leave a small race."""
RENEW_S = 3.0
STALE_S = 30.0
"""A lease of another host that is not renewed for this long, by the clock of the waiting process, is stale."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: its token, its process, and when it took it (unix seconds of its clock)."""

    token: str
    owner: Identity
    taken: float


Availability = Literal["held", "free", "watch"]


def judge(holder: Holder | None, me: Identity, *, alive: bool) -> Availability:
    """Whether `me` may take the lease. alive: whether the holder's process runs, which is known on its host only."""
    if holder is None:
        return "free"
    if holder.owner.machine != me.machine:
        return "watch"
    return "held" if alive else "free"


def read_holder(folder: Path) -> Holder | None:
    """Who holds the lease of `folder`; None where nobody does, or the file is corrupt."""
    try:
        found = json.loads((folder / LEASE).read_text())
        return Holder(str(found["token"]), Identity(**found["owner"]), float(found["taken"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def renewed_at(folder: Path) -> float | None:
    """When the lease was last renewed, in unix seconds of the file system's clock; None without a lease."""
    with contextlib.suppress(OSError):
        return (folder / LEASE).stat().st_mtime
    return None


def check_free(folder: Path) -> None:
    """Check that no live driver holds the lease of `folder`; for commands that take none themselves.

    Raises:
        UserError: one does; the text names its host and process.
    """
    holder, renewed = read_holder(folder), renewed_at(folder)
    if holder is None or renewed is None:
        return
    state = judge(holder, own_identity(), alive=is_alive(holder.owner.pid, holder.owner.ticks))
    if state == "held" or (state == "watch" and time.time() - renewed < STALE_S):
        raise UserError(f"{folder}: {holder.owner.text()} is driving this run; wait for it, or stop it first")


class Lease:
    """A lease that this process holds, renewed from a thread; see `hold`."""

    def __init__(self, folder: Path, token: str, previous: Holder | None) -> None:
        self.folder, self.token = folder, token
        self.previous = previous
        """The holder before, where it did not return the lease: a driver that died, or is out of reach."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def fence(self) -> Fence:
        """The fence that ends this driver's workers once another driver holds the lease."""
        return Fence(str((self.folder / LEASE).absolute()), self.token)

    def check(self) -> None:
        """Check that this process still holds the lease.

        Raises:
            UserError: another process has taken it over.
        """
        holder = read_holder(self.folder)
        if holder is not None and holder.token != self.token:
            raise UserError(f"{self.folder}: {holder.owner.text()} has taken over this run; this driver exits")

    def _run(self) -> None:
        while not self._ended.wait(RENEW_S):
            holder = read_holder(self.folder)
            if holder is not None and holder.token == self.token:
                with contextlib.suppress(OSError):
                    os.utime(self.folder / LEASE)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        holder = read_holder(self.folder)
        if holder is not None and holder.token == self.token:
            (self.folder / LEASE).unlink(missing_ok=True)


@contextlib.contextmanager
def hold(folder: Path, *, stale_s: float = STALE_S, warn: Callable[[str], None] = logger.warning) -> Iterator[Lease]:
    """Hold the lease of `folder` for this process while the block runs.

    warn: called with a line where the lease of another host has to be watched for `stale_s` seconds.

    Raises:
        UserError: another process holds it; the text names its host and process.
    """
    with _exclusive(folder):
        previous = _wait_until_free(folder, stale_s, warn)
        lease = Lease(folder, uuid.uuid4().hex, previous)
        owner = own_identity()
        write_json(folder / LEASE, {"token": lease.token, "owner": asdict(owner), "taken": time.time()})
    with lease:
        yield lease


def _wait_until_free(folder: Path, stale_s: float, warn: Callable[[str], None]) -> Holder | None:
    """Wait until the lease may be taken; returns its last holder."""
    holder, me = read_holder(folder), own_identity()
    alive = holder is not None and is_alive(holder.owner.pid, holder.owner.ticks)
    state = judge(holder, me, alive=alive)
    if holder is None or state == "free":
        return holder
    if state == "held":
        stopped = " (it is stopped by a signal: kill -CONT or kill it)" if is_stopped(holder.owner.pid) else ""
        raise UserError(f"{folder}: {holder.owner.text()} is driving this run{stopped}; wait for it, or stop it first")
    warn(f"{folder}: {holder.owner.text()} was driving this run; watching its lease for {stale_s:.0f} s")
    before, until = renewed_at(folder), time.monotonic() + stale_s
    while time.monotonic() < until:
        time.sleep(min(0.2, stale_s))
        if read_holder(folder) is None:
            return None
        if renewed_at(folder) != before:
            raise UserError(f"{folder}: {holder.owner.text()} is driving this run; wait for it, or stop it first")
    return holder


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    with (folder / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is taking this run at the moment; let it continue") from None
        except OSError as error:
            logger.info("%s: this file system has no locks (%s)", folder, error)
        yield
