"""Connections on which the headers of a request do not arrive, over real sockets."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from launch.service.arrival import http_protocol
from tests.helpers.commands import environment

LIMIT_S = 0.5
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
PATIENCE_S = 20.0


@dataclass
class Site:
    """An application that answers `/` at once, and `/slow` when it is let go."""

    port: int
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            self.asked.set()
            await self.let_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, content: bytes) -> None:
        self.writer.write(content)

    async def answered(self) -> bool:
        """Whether the next thing that arrives is an answer; False if the connection is closed instead."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
                return head.startswith(b"HTTP/1.1 200 ") and await self.reader.readexactly(2) == b"ok"
        except (asyncio.IncompleteReadError, ConnectionError):
            return False


Connect = Callable[[], Awaitable[Client]]


@contextlib.asynccontextmanager
async def served(base: type[asyncio.Protocol]) -> AsyncIterator[tuple[Site, Connect]]:
    """The site behind uvicorn's protocol `base`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = Site(listener.getsockname()[1])
        config = uvicorn.Config(site, http=http_protocol(LIMIT_S, base), lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([listener]))

        async def connect() -> Client:
            return Client(*await asyncio.open_connection("127.0.0.1", site.port))

        try:
            yield site, connect
        finally:
            server.should_exit = server.force_exit = True
            await running


async def silent(site: Site, connect: Connect) -> None:
    """Nothing is sent; and a part of the headers, byte by byte."""
    quiet, slow = await connect(), await connect()
    with contextlib.suppress(ConnectionError):
        for byte in HEAD:
            slow.send(bytes([byte]))
            await slow.writer.drain()
    assert not await quiet.answered()
    assert not await slow.answered()


async def kept(site: Site, connect: Connect) -> None:
    """A kept connection, idle for longer than the limit, serves a second request, and its third one is watched."""
    client, cut = await connect(), await connect()
    client.send(HEAD + b"\r\n")
    assert await client.answered()
    cut.send(HEAD)
    assert not await cut.answered(), "the limit has passed"
    client.send(HEAD)
    client.send(b"\r\n")
    assert await client.answered()
    client.send(HEAD)
    assert not await client.answered()


async def slow_answer(site: Site, connect: Connect) -> None:
    """An answer may take longer than the headers."""
    client, cut = await connect(), await connect()
    client.send(HEAD.replace(b"/ ", b"/slow ") + b"\r\n")
    await site.asked.wait()
    cut.send(HEAD)
    assert not await cut.answered(), "the limit has passed"
    site.let_go.set()
    assert await client.answered()


async def late_body(site: Site, connect: Connect) -> None:
    """The body of a request that was answered before it does not hold the connection."""
    client = await connect()
    client.send(HEAD + b"Content-Length: 1000\r\n\r\nbody")
    assert await client.answered()
    client.send(b"more")
    assert not await client.answered()


@pytest.mark.parametrize("base", [H11Protocol, HttpToolsProtocol])
@pytest.mark.parametrize("story", [silent, kept, slow_answer, late_body])
def test_a_connection_without_a_request_is_closed(
    base: type[asyncio.Protocol], story: Callable[[Site, Connect], Awaitable[None]]
) -> None:
    async def play() -> None:
        async with served(base) as (site, connect):
            await story(site, connect)

    asyncio.run(play())


def test_the_server_has_the_limit() -> None:
    script = (
        "from launch.service.server import answer, listening\n"
        "async def app(scope, receive, send): pass\n"
        f"answer(app, listening('127.0.0.1', 0), what='x', headers_s={LIMIT_S})"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        port = int(running.stdout.readline().partition("127.0.0.1:")[2].split()[0])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(HEAD)
            assert client.recv(1) == b""
        running.send_signal(signal.SIGTERM)
