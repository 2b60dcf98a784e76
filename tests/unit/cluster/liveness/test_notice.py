"""Notices of spot machines, from a metadata server over real HTTP that answers as Amazon's and Google's do."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.liveness.notice import CLOUD, METADATA, NoticeReader

ACTION = '{"action": "terminate", "time": "2026-11-26T14:08:00Z"}'


class Metadata(http.server.ThreadingHTTPServer):
    """A machine's metadata server; `taken`: whether the cloud takes the machine back."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.taken = False
        self.tokens = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        if self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]:
            self.server.tokens += 1
            self._answer(200, f"token-{self.server.tokens}")
        else:
            self._answer(400)

    def do_GET(self) -> None:
        taken = self.server.taken
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers["X-aws-ec2-metadata-token"] != f"token-{self.server.tokens}":
                self._answer(401)
            else:
                self._answer(*((200, ACTION) if taken else (404, "")))
        elif self.path == "/computeMetadata/v1/instance/preempted" and self.headers["Metadata-Flavor"] == "Google":
            self._answer(200, "TRUE" if taken else "FALSE")
        else:
            self._answer(403)

    def _answer(self, status: int, text: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Metadata]:
    with Metadata() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("cloud", "says"),
    [("aws", "Amazon will terminate it at 2026-11-26T14:08:00Z"), ("gcp", "Google preempts it")],
)
def test_a_notice_is_read_when_it_comes(server: Metadata, cloud: str, says: str) -> None:
    reader = NoticeReader(cloud, server.address)
    assert reader.read() is None
    server.taken = True
    assert reader.read() == says


def test_amazons_token_is_used_until_it_expires(server: Metadata) -> None:
    reader = NoticeReader("aws", server.address)
    assert (reader.read(), reader.read(), server.tokens) == (None, None, 1)
    server.tokens = 7  # the server no longer takes the first one
    server.taken = True
    assert reader.read() is None
    assert reader.read() is not None
    assert server.tokens == 8


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_server_that_does_not_answer_is_no_notice(cloud: str) -> None:
    assert NoticeReader(cloud, "http://127.0.0.1:1").read() is None


def test_a_proxy_is_never_asked(server: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.taken = True
    assert NoticeReader("gcp", server.address).read() is not None


@pytest.mark.parametrize("cloud", [None, "", "azure"])
def test_only_machines_of_a_known_cloud_are_asked(monkeypatch: pytest.MonkeyPatch, cloud: str | None) -> None:
    monkeypatch.delenv(CLOUD, raising=False)
    if cloud is not None:
        monkeypatch.setenv(CLOUD, cloud)
    assert NoticeReader.of_this_machine() is None


def test_the_machines_own_cloud_is_asked(server: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLOUD, "gcp")
    monkeypatch.setenv(METADATA, server.address)
    server.taken = True
    reader = NoticeReader.of_this_machine()
    assert reader is not None
    assert reader.read() == "Google preempts it"
