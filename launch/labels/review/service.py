"""`regionstack labels RUN --serve`: the review page over HTTP; decisions go straight into the table."""

import datetime
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from data_tools.errors import UserError
from launch.labels.review.content import Review
from launch.labels.review.decisions import decision_of, read_decisions, write_decisions
from launch.labels.review.page import review_page
from launch.service.security import Access, Checks, headers_of_answers, page_policy

LARGEST_REQUEST = 2**20
"""Bytes of a request: all decisions of a review that were made while the service was away."""


def review_app(review: Review, access: Access) -> Checks:
    """The application: the page at `/`, what it shows at `/data`, and decisions to `/decisions`.

    The page itself says nothing about the run, so that it can ask for the token that the other two need.
    """
    html = review_page(None)
    page_headers = headers_of_answers(page_policy(html))

    async def page(request: Request) -> Response:
        return HTMLResponse(html, headers=page_headers)

    async def data(request: Request) -> Response:
        decisions = [one.__dict__ for one in read_decisions(review.sheet)]
        return JSONResponse({**review.data, "serve": True, "decisions": decisions})

    async def decide(request: Request) -> Response:
        try:
            count = take(review, await _body(request))
        except (UserError, OSError) as error:
            return JSONResponse({"detail": str(error)}, 400 if isinstance(error, UserError) else 507)
        return JSONResponse({"saved": count})

    app = Starlette(routes=[
        Route("/", page), Route("/data", data), Route("/decisions", decide, methods=["POST"]),
        Route("/healthz", _healthy),
    ])  # fmt: skip
    return Checks(app, access=access, on_answer=lambda *_: None)


async def _healthy(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _body(request: Request) -> Any:
    """The JSON value of a request.

    Raises:
        UserError: it is too large, of another type, or no JSON.
    """
    # A form of a foreign page cannot send this type without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UserError("decisions are sent as application/json")
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > LARGEST_REQUEST:
                raise UserError(f"a request has at most {LARGEST_REQUEST} bytes")
        return json.loads(content)
    except (ValueError, RecursionError):
        raise UserError("the request is no JSON") from None
    except ClientDisconnect:
        raise UserError("the request did not arrive") from None


def take(review: Review, value: Any) -> int:
    """Write the decisions of a request, a list; their number.

    Raises:
        UserError: it is no list of decisions; none of them is written.
        OSError: the table cannot be written.
    """
    if not isinstance(value, list):
        raise UserError("decisions are a list")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    changed = dict(decision_of(one, review.sheet, now=now) for one in value)
    if changed:
        write_decisions(review.sheet, changed)
    return len(changed)
