"""Which Ray is joined: what listens at an address is known within seconds, and a stale address is one line."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.on_ray.address import address_to_join, require_ray, what_answers
from data_tools.errors import UserError

SETTINGS = bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes((0, 3, 0, 0, 0, 100))
FIELDS = b"\x88@\x0ccontent-type\x10application/grpc"
ANSWER = SETTINGS + bytes((0, 0, 0, 4, 1, 0, 0, 0, 0)) + bytes((0, 0, len(FIELDS), 1, 4, 0, 0, 0, 1)) + FIELDS
NO_METHOD = FIELDS + b"@\x0bgrpc-status\x0212"
UNKNOWN = SETTINGS + bytes((0, 0, len(NO_METHOD), 1, 5, 0, 0, 0, 1)) + NO_METHOD
GREETINGS: dict[str, bytes | None] = {
    "ray": ANSWER,
    "http2": SETTINGS,
    "web server": SETTINGS + bytes((0, 0, 1, 1, 5, 0, 0, 0, 1, 0x8D)),
    "another grpc service": UNKNOWN,
    "other stream": SETTINGS + bytes((0, 0, 1, 1, 5, 0, 0, 0, 3, 0x88)),
    "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "closes": b"",
    "silent": None,
}


@contextlib.contextmanager
def listening(greeting: bytes | None) -> Iterator[str]:
    """A service that greets every connection, and then waits for the peer to close; None: it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer, contextlib.suppress(ConnectionError):
                        peer.sendall(greeting or b"")
                        while greeting != b"" and peer.recv(1000):
                            pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(("service", "found"), [(name, "ray" if name == "ray" else "other") for name in GREETINGS])
def test_what_listens(service: str, found: str) -> None:
    began = time.monotonic()
    with listening(GREETINGS[service]) as address:
        assert what_answers(address, connect_s=0.2, reply_s=0.2) == found
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:", "127.0.0.1", "", "host.invalid:6379", ":x"])
def test_what_is_no_address_does_not_answer(address: str) -> None:
    assert what_answers(address, connect_s=0.2, reply_s=0.2) == "nothing"


def test_an_address_in_brackets() -> None:
    with listening(ANSWER) as address:
        assert what_answers(address.replace("127.0.0.1", "[127.0.0.1]")) == "ray"


def test_tls_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with listening(None) as address:
        assert what_answers(address) == "ray"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path


Name = Callable[[str], None]


def by_variable(folder: Path, patch: pytest.MonkeyPatch, address: str) -> None:
    patch.setenv("RAY_ADDRESS", address)


def by_file(folder: Path, patch: pytest.MonkeyPatch, address: str) -> None:
    (folder / "ray" / "ray_current_cluster").write_text(address)


@pytest.mark.parametrize("name", [by_variable, by_file])
@pytest.mark.parametrize("wanted", [None, "auto"])
def test_a_ray_that_runs_here_is_joined(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: Callable[..., None], wanted: str | None
) -> None:
    with listening(ANSWER) as address:
        name(folder, monkeypatch, address)
        assert address_to_join(wanted) == address
        assert address_to_join("local") is None
        assert address_to_join("other:6379") == "other:6379"


@pytest.mark.parametrize("service", ["http", "closes", None])
def test_a_stale_address(folder: Path, monkeypatch: pytest.MonkeyPatch, service: str | None) -> None:
    """The variable is a person's word, so it is an error; the file outlives a killed cluster and is ignored."""
    with contextlib.nullcontext(free_port()) if service is None else listening(GREETINGS[service]) as address:
        by_file(folder, monkeypatch, address)
        assert address_to_join(None) is None
        with pytest.raises(UserError, match="auto: no Ray cluster runs"):
            address_to_join("auto")
        by_variable(folder, monkeypatch, address)
        for wanted in (None, "auto"):
            with pytest.raises(UserError, match=f"RAY_ADDRESS: {address}: "):
                address_to_join(wanted)
        assert address_to_join("local") is None
        with pytest.raises(UserError, match=f"cluster.address: {address}: "):
            require_ray(address, named_by="cluster.address")


@pytest.mark.parametrize(("given", "joined"), [("local", None), ("", None)])
def test_a_variable_without_an_address(monkeypatch: pytest.MonkeyPatch, given: str, joined: str | None) -> None:
    monkeypatch.setenv("RAY_ADDRESS", given)
    assert address_to_join(None) is joined


def test_a_file_that_cannot_be_read_names_no_cluster(folder: Path) -> None:
    (folder / "ray" / "ray_current_cluster").mkdir()
    assert address_to_join(None) is None
