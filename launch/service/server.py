"""`regionstack serve`: starts the replicas, answers HTTP in this process, drains and stops everything at the end."""

import contextlib
import errno
import importlib.util
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.errors import UserError
from launch.api import open_run
from launch.service.limits import Limits
from launch.service.security import Access, check_exposure, is_loopback, read_token
from launch.terminal.console import print_err, print_out
from trainer.config import STACK
from trainer.serving.ensemble import check_model

if TYPE_CHECKING:
    from starlette.types import ASGIApp

BACKLOG = 256
DRAIN_S = 30
"""Seconds that requests in progress have to finish after a stop request."""
_KEEP_ALIVE_S = 15
_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What `regionstack serve` starts. model: what answers, the stack or a student. port: 0 takes a free one.

    decoders: of each replica; None: one for each core. address: a Ray cluster to join; None starts a private Ray.
    """

    run: Path
    model: str = STACK
    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    decoders: int | None = None
    token_file: str | None = None
    without_token: bool = False
    address: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("replicas", "decoders"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name}: must be 1 or more, is {value}")
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port: must be 0 to 65535, is {self.port}")


def serve(options: ServeOptions) -> int:
    """Serve a run until SIGINT or SIGTERM, then answer the requests in progress; returns 0.

    Raises:
        UserError: an option, the run, the port or Ray cannot be used.
    """
    require_packages()
    token = read_token(options.token_file)
    check_exposure(options.host, token, without_token=options.without_token)
    run = options.run.absolute()
    open_run(run)
    check_model(run, options.model)
    access = Access(token=token, loopback_only=token is None and is_loopback(options.host))
    with listening(options.host, options.port) as listener:
        print_err(f"loading the models of {options.run} ...")
        _serve(options, run, access, listener)
    return 0


def _serve(options: ServeOptions, run: Path, access: Access, listener: socket.socket) -> None:
    # Ray and FastAPI take seconds to import.
    from launch.service.app import create_app
    from launch.service.deployment import started
    from launch.service.replica import Plan

    plan = Plan(
        run=str(run), limits=options.limits, replicas=options.replicas, decoders=options.decoders, model=options.model
    )
    with started(plan, address=options.address) as backend:
        app = create_app(backend, options.limits, access)
        # uvicorn answers what is in progress, and then raises the signal again.
        with contextlib.suppress(KeyboardInterrupt):
            answer(app, listener, what=f"serving {options.run}", headers_s=options.limits.upload_s)
        print_err("stopping ...")
    print_err("stopped")


def answer(app: "ASGIApp", listener: socket.socket, *, what: str, headers_s: float = Limits.upload_s) -> None:
    """Answer HTTP requests until SIGINT or SIGTERM; what: is being served, for the line that names the address.

    headers_s: seconds in which the headers of a request must arrive.

    Raises:
        KeyboardInterrupt: it was stopped, after the answers to requests in progress.
    """
    import uvicorn  # Takes long to import.

    from launch.service.arrival import http_protocol

    config = uvicorn.Config(
        app,
        http=http_protocol(headers_s),
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    # From here on, connections wait for uvicorn, which takes a moment to start.
    listener.listen(BACKLOG)
    host, port = listener.getsockname()[:2]
    print_out(f"{what} at http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C stops it)")
    uvicorn.Server(config).run(sockets=[listener])


def require_packages() -> None:
    """Check that what the extra `serve` installs is there.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not installed; pip install 'regionstack[serve]' brings what serve needs"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address and does not yet accept connections.

    Raises:
        UserError: the address is in use, not this machine's, or not permitted.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = "in use; choose another --port" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise UserError(f"{host}:{port}: {reason}") from None
    return listener
