"""Requests that are wrong in every way that clients are: raw bytes for a socket."""

import contextlib
import random
import socket
from collections.abc import Callable, Iterator, Sequence

from tests.helpers.mutated_pages import mutated
from tests.helpers.service import form_of

NAMES = (
    "a.tif", "", "../../etc/passwd", "C:\\temp\\a.tif", "a\x00b.tif", "x" * 5000, "文書.tif", "\xff\xfe.tif",
    "a;b=c.tif", "%2e%2e%2f.tif", "<script>.tif", "a\\\"b.tif", ".", "con", " ", "\u202egpj.tif",
)  # fmt: skip
KINDS = (
    "image/tiff", "application/pdf", "application/octet-stream", "text/html", "multipart/form-data", "", "image/",
    "multipart/form-data; boundary=", "multipart/form-data; boundary=\"", "multipart/mixed; boundary=x", "\xff",
    "a" * 3000,
)  # fmt: skip


def request(headers: Sequence[tuple[str, str]], body: bytes, *, path: str = "/predict", method: str = "POST") -> bytes:
    """One HTTP/1.1 request; the connection is closed after it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def malformed(pages: Sequence[bytes], *, count: int, seed: int) -> Iterator[tuple[bytes, bool]]:
    """`count` requests; most are wrong, and some mutations of a page leave it readable.

    Each comes with whether the client closes its side after it, where the server would wait for the rest.
    """
    dice = random.Random(seed)
    makers = (_mutated_page, _mutated_page, _mutated_form, _wrong_length, _odd_name, _odd_kind, _cut_off, _chunked)
    for number in range(count):
        make = makers[number % len(makers)]
        yield make(dice.choice(pages), dice), make in (_wrong_length, _cut_off, _chunked)


def _mutated_page(page: bytes, dice: random.Random) -> bytes:
    body, kind = form_of([("a.tif", mutated(page, dice))] * dice.choice([1, 1, 1, 3]))
    return request([("Content-Type", kind), ("Content-Length", str(len(body)))], body)


def _mutated_form(page: bytes, dice: random.Random) -> bytes:
    body, kind = form_of([("a.tif", page[: dice.choice([0, 10, 200])])] * dice.randint(0, 4))
    body = mutated(body, dice)
    return request([("Content-Type", kind), ("Content-Length", str(len(body)))], body)


def _wrong_length(page: bytes, dice: random.Random) -> bytes:
    body, kind = form_of([("a.tif", page)])
    size = dice.choice(
        ["0", "1", str(len(body) - 5), str(len(body) + 5), "-1", "", "9" * 30, "1e5", "0x10", str(2**40)]
    )
    return request([("Content-Type", kind), ("Content-Length", size)], body)


def _odd_name(page: bytes, dice: random.Random) -> bytes:
    body, kind = form_of([(dice.choice(NAMES), dice.choice([page, b"", b"text"])) for _ in range(dice.randint(1, 3))])
    return request([("Content-Type", kind), ("Content-Length", str(len(body)))], body)


def _odd_kind(page: bytes, dice: random.Random) -> bytes:
    body = dice.choice([page, b"", b"%PDF-1.7\n", b"II*\0", b"{}", form_of([("a", page)])[0]])
    path = dice.choice(
        ["/predict", "/predict?preview=true", "/predict?preview=%00", "/predict?name=%ff&name=x", "/predict/"]
    )
    return request([("Content-Type", dice.choice(KINDS)), ("Content-Length", str(len(body)))], body, path=path)


def _cut_off(page: bytes, dice: random.Random) -> bytes:
    whole = _odd_name(page, dice)
    return whole[: dice.randrange(1, len(whole))]


def _chunked(page: bytes, dice: random.Random) -> bytes:
    body = mutated(page, dice)
    sizes: Callable[[int], str] = dice.choice(
        [lambda n: f"{n:x}", lambda n: f"{n + 3:x}", lambda n: "zz", lambda n: "-1"]
    )
    chunks = f"{sizes(len(body))}\r\n".encode() + body + dice.choice([b"\r\n0\r\n\r\n", b"\r\n", b"0\r\n\r\n"])
    return request([("Content-Type", "image/tiff"), ("Transfer-Encoding", "chunked")], chunks)


def status_of(port: int, raw: bytes, *, closes: bool) -> int | None:
    """The status of the answer; None if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(raw)
            if closes:
                connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n" not in answer and (more := connection.recv(4096)):
                answer += more
    return int(answer.split(b" ", 2)[1]) if answer else None
