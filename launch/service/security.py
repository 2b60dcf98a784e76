"""Who may ask: the bearer token, the origin of a browser's request; and the headers of every answer."""

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_tools.errors import UserError

TOKEN_VARIABLE = "REGIONSTACK_TOKEN"
LEAST_TOKEN = 16
OPEN_PATHS = frozenset({"/", "/healthz"})
"""Paths that need no token: they say nothing about the run or its documents."""


def read_token(file: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token that requests must bring, from a file's first line or REGIONSTACK_TOKEN; None: none is needed.

    Raises:
        UserError: the file cannot be read, or the token is short or has characters that no header can carry.
    """
    if file is not None:
        try:
            content = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise UserError(f"--token-file {file}: {reason}") from None
        token, where = (content.splitlines() or [""])[0].strip(), f"--token-file {file}"
    elif TOKEN_VARIABLE in environment:
        token, where = environment[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE
    else:
        return None
    if len(token) < LEAST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise UserError(
            f"{where}: a token has at least {LEAST_TOKEN} visible ASCII characters and no space; "
            "make one with `openssl rand -hex 32`"
        )
    return token


def check_exposure(host: str, token: str | None, *, without_token: bool) -> None:
    """Refuse to serve other machines without a token, unless that is what the user asked for.

    Raises:
        UserError: an address other than loopback and no token.
    """
    if not is_loopback(host) and token is None and not without_token:
        raise UserError(
            f"--host {host}: other machines can reach the service, so it needs a token (--token-file or "
            f"{TOKEN_VARIABLE}); --without-token serves anyone"
        )


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine's loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use the service. loopback_only: whether it answers under names of this machine alone."""

    token: str | None = None
    loopback_only: bool = True


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no answer. status: of HTTP; reason: a label; detail: one line."""

    status: int
    reason: str
    detail: str


def refusal(path: str, headers: Mapping[str, str], access: Access) -> Refusal | None:
    """Why a request for `path` is refused; None: it is not. headers: names in lower case."""
    if reason := foreign(headers, loopback_only=access.loopback_only):
        return Refusal(403, "foreign", reason)
    if access.token is None or path in OPEN_PATHS or has_token(headers.get("authorization"), access.token):
        return None
    return Refusal(401, "token", "the bearer token is missing or wrong")


class Checks:
    """ASGI middleware: refuses requests that may not be made, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, *, access: Access, on_answer: Callable[[str, int, Refusal | None], None]) -> None:
        """on_answer: called with path, status and refusal as each answer begins."""
        self._app, self._access, self._on_answer = app, access, on_answer
        self._headers = headers_of_answers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        refused = refusal(path, Headers(scope=scope), self._access)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                self._on_answer(path, message["status"], refused)
            await send(message)

        answer = self._app if refused is None else _answer_of(refused)
        await answer(scope, receive, send_with_headers)


def _answer_of(refused: Refusal) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
    return JSONResponse({"reason": refused.reason, "detail": refused.detail}, refused.status, headers)


def has_token(authorization: str | None, token: str) -> bool:
    """Whether the header `Authorization` brings the token; takes the same time for any wrong one."""
    scheme, _, brought = (authorization or "").partition(" ")
    same = hmac.compare_digest(brought.strip().encode("utf-8", "surrogateescape"), token.encode())
    return same and scheme.lower() == "bearer"


def foreign(headers: Mapping[str, str], *, loopback_only: bool) -> str | None:
    """Why a browser's request comes from a foreign page; None if it does not.

    A page on the Internet can make a browser send requests to this machine, also under a name that it resolves to
    127.0.0.1 (DNS rebinding).
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if loopback_only and not is_loopback(_name_of(host)):
        return f"the service answers on this machine only, not as {host[:80]!r}"
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return f"a page of {origin[:80]!r} may not use the service"
    return None


def _name_of(host: str) -> str:
    """The name or address in a header `Host`; empty if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def headers_of_answers(policy: str | None = None) -> dict[str, str]:
    """The security headers of an answer. policy: the Content-Security-Policy; None: nothing is loaded."""
    return {
        "Content-Security-Policy": policy or "default-src 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def page_policy(html: str) -> str:
    """The Content-Security-Policy of a page: its own inline style and script, pictures as data, this service alone."""
    styles = " ".join(map(_hash, re.findall(r"<style>(.*?)</style>", html, re.DOTALL)))
    scripts = " ".join(map(_hash, re.findall(r"<script>(.*?)</script>", html, re.DOTALL)))
    return (
        f"default-src 'none'; style-src {styles}; script-src {scripts}; img-src data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
