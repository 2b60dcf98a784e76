"""The lease of a folder: one driver at a time, whatever hosts they run on, and a stale lease is taken over.

`driver.lease` holds who has it (plain JSON, never rewritten) under a token of its own; its owner shows that it lives by
touching the file. On the owner's machine its process tells whether it lives; elsewhere a number of a process means
nothing and clocks differ, so one watches for a while whether the file is touched. Whoever takes a lease over replaces
the file: from then on the old owner, and the workers that it started (see `cluster.liveness.fence`), see a token that
is not theirs, and leave.
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
DOOR = "driver.lock"
"""Locked while somebody looks at the lease or takes it; on file systems without locks, chance must do."""
RENEW_S = 3.0
STALE_S = 30.0
"""A lease of another machine that is not renewed for so long, by the clock of who waits for it, is stale."""


@dataclass(frozen=True)
class Holder:
    """Who has a lease: its token, the process, and unix seconds of the taking, by its clock."""

    token: str
    owner: Identity
    taken: float


Verdict = Literal["held", "free", "watch"]


def judge(holder: Holder | None, me: Identity, *, alive: bool) -> Verdict:
    """Whether `me` may take the lease. alive: whether the holder's process is there, known on its machine alone."""
    if holder is None:
        return "free"
    if holder.owner.machine != me.machine:
        return "watch"
    return "held" if alive else "free"


def read_holder(folder: Path) -> Holder | None:
    """Who has the lease of `folder`, or None: nobody, or the file is damaged."""
    try:
        found = json.loads((folder / LEASE).read_text())
        return Holder(str(found["token"]), Identity(**found["owner"]), float(found["taken"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def renewed_at(folder: Path) -> float | None:
    """When the lease was last touched, unix seconds of the file system's clock; None: there is none."""
    with contextlib.suppress(OSError):
        return (folder / LEASE).stat().st_mtime
    return None


def check_free(folder: Path) -> None:
    """See to it that no driver that seems to live has the lease of `folder`; for those who take none.

    Raises:
        UserError: one has; the text names its host and process.
    """
    holder, renewed = read_holder(folder), renewed_at(folder)
    if holder is None or renewed is None:
        return
    verdict = judge(holder, own_identity(), alive=is_alive(holder.owner.pid, holder.owner.ticks))
    if verdict == "held" or (verdict == "watch" and time.time() - renewed < STALE_S):
        raise UserError(f"{folder}: {holder.owner.text()} is driving this run; wait for it, or stop it first")


class Lease:
    """A lease that this process holds, renewed from a thread; see `hold`."""

    def __init__(self, folder: Path, token: str, former: Holder | None) -> None:
        self.folder, self.token = folder, token
        self.former = former
        """Who had it before without giving it back: a driver that died, or that is out of reach."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def fence(self) -> Fence:
        """What keeps the workers of this driver from writing once another one has the lease."""
        return Fence(str((self.folder / LEASE).absolute()), self.token)

    def check(self) -> None:
        """See to it that the lease is still ours.

        Raises:
            UserError: another process has taken it over.
        """
        holder = read_holder(self.folder)
        if holder is not None and holder.token != self.token:
            raise UserError(f"{self.folder}: {holder.owner.text()} has taken this run over; this one leaves it")

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
def hold(folder: Path, *, stale_s: float = STALE_S, say: Callable[[str], None] = logger.warning) -> Iterator[Lease]:
    """Hold the lease of `folder` for this process while the block runs.

    `say` hears it where one has to wait for a lease of another machine.

    Raises:
        UserError: another process holds it; the text names its host and process.
    """
    with _at_the_door(folder):
        former = _wait_until_free(folder, stale_s, say)
        lease = Lease(folder, uuid.uuid4().hex, former)
        owner = own_identity()
        write_json(folder / LEASE, {"token": lease.token, "owner": asdict(owner), "taken": time.time()})
    with lease:
        yield lease


def _wait_until_free(folder: Path, stale_s: float, say: Callable[[str], None]) -> Holder | None:
    """Return the last holder once the lease may be taken."""
    holder, me = read_holder(folder), own_identity()
    alive = holder is not None and is_alive(holder.owner.pid, holder.owner.ticks)
    verdict = judge(holder, me, alive=alive)
    if holder is None or verdict == "free":
        return holder
    if verdict == "held":
        stopped = " (it is stopped: kill -CONT, or kill, it)" if is_stopped(holder.owner.pid) else ""
        raise UserError(f"{folder}: {holder.owner.text()} is driving this run{stopped}; wait for it, or stop it first")
    say(f"{folder}: {holder.owner.text()} was driving this run; waiting {stale_s:.0f} s to see whether it still does")
    before, until = renewed_at(folder), time.monotonic() + stale_s
    while time.monotonic() < until:
        time.sleep(min(0.2, stale_s))
        if read_holder(folder) is None:
            return None
        if renewed_at(folder) != before:
            raise UserError(f"{folder}: {holder.owner.text()} is driving this run; wait for it, or stop it first")
    return holder


@contextlib.contextmanager
def _at_the_door(folder: Path) -> Iterator[None]:
    with (folder / DOOR).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is just taking this run; one of the two is enough") from None
        except OSError as error:
            logger.info("%s: no locks on this file system (%s)", folder, error)
        yield
