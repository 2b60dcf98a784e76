"""Requests to an ASGI application in this process, without a server."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tests.helpers.service import Reply


async def ask(
    app: Any,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    chunks: Sequence[bytes] | AsyncIterator[bytes] = (),
) -> Reply:
    """Make one request; chunks: of the body, after which the client waits for the answer."""
    path, _, query = path.partition("?")
    given = {"host": "127.0.0.1:8000", **(headers or {})}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    source = chunks if isinstance(chunks, AsyncIterator) else _stream(chunks)
    started: dict[str, Any] = {}
    body = bytearray()

    async def receive() -> dict[str, Any]:
        async for chunk in source:
            return {"type": "http.request", "body": chunk, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        started.update(message) if message["type"] == "http.response.start" else body.extend(message.get("body", b""))

    await app(scope, receive, send)
    found = {name.decode(): value.decode("latin-1") for name, value in started["headers"]}
    return Reply(started["status"], found, bytes(body))


async def _stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def ask_once(app: Any, method: str, path: str, **options: Any) -> Reply:
    """`ask`, in an event loop of its own."""
    return asyncio.run(ask(app, method, path, **options))
