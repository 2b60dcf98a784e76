"""Ray's launcher as a client uses it: `ray up`, files to and from the head, calls of `cluster.remote.head` there."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.remote.head import MARK, Arguments, encoded
from data_tools.errors import UserError

KEPT_LINES = 3
"""Last lines of Ray's output that an error shows: of a traceback, its message alone."""
TRACEBACK = "Traceback (most recent call last)"


class ConnectionLost(Exception):
    """The head could not be reached, or the connection ended before the call did; the text is the launcher's."""


class Launcher:
    """The cluster that a launcher's file describes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._ray = str(Path(sys.executable).with_name("ray"))

    def up(self) -> None:
        """Start or update the cluster, with the launcher's own output.

        Raises:
            UserError: it did not come up.
        """
        ended = subprocess.run([self._ray, "up", "--yes", str(self.file)], check=False)
        if ended.returncode:
            raise UserError(f"{self.file}: ray up failed; its output is above")

    def send(self, source: str, target: str) -> None:
        """Copy a file, or the content of a folder (`source` ends with /), to the head; what is there is not copied.

        Raises:
            ConnectionLost: the head could not be reached, or the connection broke.
        """
        self._run("rsync-up", source, target)

    def fetch(self, source: str, target: str) -> None:
        """Copy a file from the head.

        Raises:
            ConnectionLost: as above.
        """
        self._run("rsync-down", source, target)

    def call(self, action: str, arguments: Arguments) -> dict[str, Any]:
        """All that an action of `cluster.remote.head` reports, as one object.

        Raises:
            ConnectionLost: it reported nothing.
            UserError: what the action reports as an error.
        """
        with self.news(action, arguments) as lines:
            found: dict[str, Any] = {}
            for news in lines:
                found |= news
        if "error" in found:
            raise UserError(f"{self.file}: {found['error']}")
        return found

    @contextlib.contextmanager
    def news(self, action: str, arguments: Arguments) -> Iterator[Iterator[dict[str, Any]]]:
        """The objects that an action sends, one by one; ends the connection when the block ends.

        In a session of its own: Ctrl-C concerns the client, and not the connection.
        """
        command = f"python -m cluster.remote.head {action} {encoded(arguments)}"
        process = subprocess.Popen(
            [self._ray, "exec", str(self.file), command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        try:
            yield self._objects(process)
        finally:
            # With its ssh, which would stay connected.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()

    def _objects(self, process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
        other = ""
        some = False
        for line in process.stdout or ():
            _, mark, text = line.partition(MARK)
            if mark:
                some = True
                yield dict(json.loads(text))
            else:
                other += line
        if not some:
            raise ConnectionLost(reason_in(other))

    def _run(self, command: str, *arguments: str) -> None:
        ended = subprocess.run(
            [self._ray, command, str(self.file), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            check=False,
        )  # fmt: skip
        if ended.returncode:
            raise ConnectionLost(reason_in(ended.stdout))


def reason_in(output: str) -> str:
    """The end of the launcher's output in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    kept = 1 if TRACEBACK in output else KEPT_LINES
    return " | ".join(lines[-kept:]) or "no output"
