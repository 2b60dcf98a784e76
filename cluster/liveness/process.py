"""A process by a name that no other one ever gets, and what can be done to it: asked, signalled, ended.

A process number alone means nothing on another host, in another container, or after a while: numbers come again.
Linux only: everything is read from /proc.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.02
STOPPED = "T"
ENDED = "Z", "X"


@dataclass(frozen=True)
class Identity:
    """One process. machine: boot and process namespace in which `pid` means anything; ticks: when it began."""

    host: str
    machine: str
    pid: int
    ticks: int

    def text(self) -> str:
        """For a person: `process 12 on node3`."""
        return f"process {self.pid} on {self.host}"


def own_identity() -> Identity:
    """The identity of this process."""
    pid = os.getpid()
    return Identity(socket.gethostname(), machine(), pid, ticks_of(pid) or 0)


def machine() -> str:
    """Where this process' number means something: the boot of this host, and its process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def ticks_of(pid: int) -> int | None:
    """When process `pid` began, in clock ticks since the boot; None where it has ended."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in ENDED else None


def is_alive(pid: int, ticks: int) -> bool:
    """Whether the process that began at `ticks` still has the number `pid`, and has not ended."""
    return ticks_of(pid) == ticks


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped it (SIGSTOP, Ctrl-Z): it is there, and does nothing."""
    fields = _stat(pid)
    return bool(fields) and fields[0] == STOPPED


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def send(processes: Sequence[tuple[int, int]], number: int) -> None:
    """Send signal `number` to those of `processes`, (pid, ticks) on this host, that are alive."""
    for pid, ticks in processes:
        if is_alive(pid, ticks):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def end(processes: Sequence[tuple[int, int]], timeout_s: float) -> list[int]:
    """Kill `processes`, (pid, ticks) on this host, and wait until they are gone; the numbers of those left."""
    send(processes, signal.SIGKILL)
    until = time.monotonic() + timeout_s
    left = [one for one in processes if is_alive(*one)]
    while left and time.monotonic() < until:
        time.sleep(LOOK_S)
        left = [one for one in left if is_alive(*one)]
    return [pid for pid, _ in left]
