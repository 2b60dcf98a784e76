"""`regionstack serve` as a test starts it: in a process of its own, on a free port, stopped at the end."""

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.helpers.commands import AS_STARTED, ROOT, environment, heed_interrupts
from tests.helpers.native_lines import check_no_native_line
from tests.helpers.waiting import wait_until

START_S = 180.0
STOP_S = 60.0


@dataclass(frozen=True)
class Reply:
    """status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Service:
    """A running service. output, errors: files that take what it prints."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    errors: Path

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())

    def predict(self, *files: tuple[str, bytes], query: str = "", headers: Mapping[str, str] | None = None) -> Reply:
        """Upload files by name as a form."""
        body, kind = form_of(files)
        return self.ask("POST", f"/predict{query}", body, {"Content-Type": kind, **(headers or {})})

    def replicas(self) -> list[int]:
        """Processes that hold the models."""
        own = psutil.Process(self.process.pid).children(recursive=True)
        return [one.pid for one in own if _title(one).startswith("ray::ServeReplica:") and "Replica" in _title(one)]

    def children(self) -> list[psutil.Process]:
        """All processes that the service has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask the service to stop; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def form_of(files: Sequence[tuple[str, bytes]], *, boundary: str = "0f1e2d3c4b5a") -> tuple[bytes, str]:
    """A multipart form with the files, and its Content-Type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _as_started(env: Mapping[str, str]) -> dict[str, str]:
    variables = {**environment(), **AS_STARTED, **env}
    return {name: value for name, value in variables.items() if value is not None}


@contextlib.contextmanager
def serving(run: Path, folder: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Service]:
    """A service of `run` that is ready; killed at the end if it still runs. Its output lies in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    output, errors = folder / "output.txt", folder / "errors.txt"
    command = [sys.executable, "-m", "launch.cli", "serve", str(run), "--port", "0", *options]
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_as_started(env or {}), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            preexec_fn=heed_interrupts, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or b"http://" in output.read_bytes(), "serve", limit_s=START_S)
        found = re.search(r"http://[^ ]*:(\d+)", output.read_text())
        if found is None:
            raise AssertionError(f"serve ended with {process.poll()}: {errors.read_text()[-3000:]}")
        yield Service(process, int(found.group(1)), output, errors)
    finally:
        if process.poll() is None:
            started = time.monotonic()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.poll() != 0:
                process.kill()
                raise AssertionError(f"serve: {process.poll()} {time.monotonic() - started:.0f} s after SIGTERM")
        check_no_native_line(output.read_text() + errors.read_text())
