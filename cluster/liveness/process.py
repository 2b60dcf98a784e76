"""A process under an identity that is never reused; look it up, signal it, kill it.

A pid alone means nothing on another host or in another container, and is reused after a while. Linux only: everything
is read from /proc.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02
STOPPED = "T"
ENDED = "Z", "X"


@dataclass(frozen=True)
class Identity:
    """One process.

    machine: the boot and the pid namespace in which `pid` is valid. ticks: its start, in clock ticks since the boot.
    """

    host: str
    machine: str
    pid: int
    ticks: int

    def text(self) -> str:
        """In words: `process 12 on node3`."""
        return f"process {self.pid} on {self.host}"


def own_identity() -> Identity:
    """The identity of this process."""
    pid = os.getpid()
    return Identity(socket.gethostname(), machine(), pid, ticks_of(pid) or 0)


def machine() -> str:
    """The scope in which this process' pid is valid: the boot of this host, and its pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def ticks_of(pid: int) -> int | None:
    """When process `pid` was started, in clock ticks since the boot; None where it has ended."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in ENDED else None


def is_alive(pid: int, ticks: int) -> bool:
    """Whether the process that was started at `ticks` still has the pid `pid` and has not ended."""
    return ticks_of(pid) == ticks


def is_stopped(pid: int) -> bool:
    """Whether a signal has suspended the process (SIGSTOP, Ctrl-Z)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] == STOPPED


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where there is no such process."""
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
    """Kill `processes`, (pid, ticks) on this host, and wait up to `timeout_s` seconds; pids of those that remain."""
    send(processes, signal.SIGKILL)
    until = time.monotonic() + timeout_s
    left = [one for one in processes if is_alive(*one)]
    while left and time.monotonic() < until:
        time.sleep(POLL_S)
        left = [one for one in left if is_alive(*one)]
    return [pid for pid, _ in left]
