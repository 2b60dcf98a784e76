"""A limit on the time in which the headers of a request arrive; uvicorn has none."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


class _TimedHeaders(asyncio.Protocol):
    """Before one of uvicorn's protocols: closes a connection on which no request's headers are complete in time.

    The time runs from the connection on, and then from the first bytes after each answer: while nothing arrives, the
    connection is idle, for which uvicorn has a limit. Bytes of a body that follow its answer count as headers.
    """

    seconds: float
    cycle: Any
    """uvicorn's latest request whose headers are complete; None before the first."""
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop the time if headers are complete, and start it if a request has begun."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def http_protocol(headers_s: float, base: type[asyncio.Protocol] = AutoHTTPProtocol) -> type[asyncio.Protocol]:
    """uvicorn's protocol `base`, which closes a connection whose request's headers take longer than `headers_s`."""
    return type(f"Timed{base.__name__}", (_TimedHeaders, base), {"seconds": headers_s})
