"""A program on a terminal of its own, which a test can read, resize and type into."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tests.helpers.commands import ROOT, environment, heed_interrupts

LIMIT_S = 60.0
CTRL_C = b"\x03"


class Terminal:
    """Context in which `command` runs with a terminal of `columns` x 40 as its input, output and errors.

    seen: everything that it wrote so far.
    """

    def __init__(self, command: Sequence[str], *, columns: int = 120, env: Mapping[str, str] | None = None) -> None:
        self.seen = ""
        self._master, slave = os.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, preexec_fn=lambda: _control(slave),
            env={**environment(), "TERM": "xterm-256color", "CI": "", **(env or {})},
        )  # fmt: skip
        os.close(slave)

    def resize(self, columns: int, rows: int = 40) -> None:
        """Change its size, as a window manager does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def read_until(self, text: str, *, after: int = 0) -> None:
        """Read until `text` stands in what was written from position `after` on.

        Raises:
            TimeoutError: it never does, or the program ends first.
        """
        until = time.monotonic() + LIMIT_S
        while text not in self.seen[after:]:
            if time.monotonic() > until or not self._read(1.0):
                raise TimeoutError(f"{text!r} was not written:\n{self.seen[-3000:]}")

    def wait(self) -> int:
        """Read until the program ends; its exit status."""
        while self._read(LIMIT_S):
            pass
        return self.process.wait(LIMIT_S)

    def _read(self, limit_s: float) -> bool:
        """Read what is there; False at the end of the program."""
        if select.select([self._master], [], [], limit_s)[0]:
            try:
                found = os.read(self._master, 65536)
            except OSError:  # The program has ended.
                return False
            self.seen += found.decode(errors="replace")
            return bool(found)
        return self.process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)


def _control(terminal: int) -> None:
    """In the child: make this its controlling terminal, from which Ctrl-C comes."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    heed_interrupts()
