"""The service as an HTTP application: routes, limits and errors. What classifies is behind `Backend`."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import data_tools
from launch.service import schema, security
from launch.service.limits import Admission, Busy, Limits
from launch.service.metrics import CONTENT_TYPE, Metrics
from launch.service.replica import About, Classified
from launch.service.responses import rejections_of, response_of
from launch.service.uploads import (
    UploadedFile,
    UploadError,
    check_content_type,
    declared_length,
    files_of,
    name_of_header,
    read_body,
)

PAGE = Path(__file__).parent / "page" / "index.html"
REPLICA_RETRY_S = 5


class Unavailable(Exception):
    """The replicas cannot answer at the moment."""


class Backend(Protocol):
    """The replicas of the models."""

    about: About

    async def ready(self) -> bool:
        """Whether a replica can answer."""

    async def classify(self, content: bytes, *, preview: bool) -> Classified:
        """The outputs of a file's pages, or why it is rejected.

        Raises:
            Busy: the replicas' queue is full.
            Unavailable: no replica answered.
        """


class Service:
    """The state of one service: admission, figures, and the way of a request to its answer."""

    def __init__(self, backend: Backend, limits: Limits, *, length_required: bool) -> None:
        self.backend, self.limits, self._length_required = backend, limits, length_required
        self.admission, self.metrics = Admission(limits), Metrics()
        self.metrics.limit.set(limits.queue)
        self.metrics.in_progress.set_function(lambda: self.admission.requests)
        self.metrics.reserved.set_function(lambda: self.admission.reserved_bytes)

    async def predict(self, request: Request, *, preview: bool, name: str | None) -> Response:
        """Answer a prediction request.

        Raises:
            UploadError: a request that is refused.
            Busy: the service is full.
            Unavailable: no replica answered.
        """
        content_type = request.headers.get("content-type", "")
        check_content_type(content_type, encoding=request.headers.get("content-encoding"))
        declared = request.headers.get("content-length")
        with self.admission.admitted(declared_length(declared, self.limits, required=self._length_required)):
            started = time.monotonic()
            body = await self._body(request)
            name = name or name_of_header(request.headers.get("content-disposition"))
            # Parsing a hostile form of 64 MiB can take seconds, in which other requests are answered.
            files = await asyncio.to_thread(files_of, content_type, body, name=name, limits=self.limits)
            del body
            response = await self._answered(files, preview=preview)
            self.admission.took(time.monotonic() - started)
        self.metrics.seconds.labels(str(response.status_code)).observe(time.monotonic() - started)
        return response

    async def _body(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(self.limits.upload_s):
                return await read_body(request.stream(), self.limits)
        except TimeoutError:
            raise UploadError(408, "slow_upload", f"the upload took longer than {self.limits.upload_s:g} s") from None
        except ClientDisconnect:
            raise UploadError(400, "cut_off", "the client closed the connection during the upload") from None

    async def _answered(self, files: Sequence[UploadedFile], *, preview: bool) -> Response:
        try:
            async with asyncio.timeout(self.limits.answer_s), asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.backend.classify(file.content, preview=preview)) for file in files]
        except TimeoutError:
            raise Unavailable(f"no answer within {self.limits.answer_s:g} s") from None
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return self._response(list(zip(files, (task.result() for task in tasks), strict=True)), preview=preview)

    def _response(self, classified: Sequence[tuple[UploadedFile, Classified]], *, preview: bool) -> Response:
        named = [(file.name, pages) for file, pages in classified]
        content, status, answers = response_of(named, self.backend.about, previews=preview)
        for rejection in (rejection for _, pages in named for rejection in rejections_of(pages)):
            self.metrics.rejected.labels(rejection.reason).inc()
        for answer in answers:
            if answer.place.kind == "page" and answer.error is None:
                self.metrics.pages.inc()
                self.metrics.decisions.labels(answer.decision or "none").inc()
        return JSONResponse(content, status)


def create_app(backend: Backend, limits: Limits, access: security.Access, *, length_required: bool = False) -> FastAPI:
    """The application of one service. length_required: whether an upload without Content-Length is refused."""
    # It logs each malformed form, which the figures count.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    service = Service(backend, limits, length_required=length_required)
    app = FastAPI(
        title="regionstack",
        version=data_tools.__version__,
        summary="Classifies scanned documents with the models of one run.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    _add_routes(app, service)
    _add_errors(app, service.metrics)
    _add_checks(app, service.metrics, access)
    if access.token is not None:
        _describe_token(app)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    html = PAGE.read_text(encoding="utf-8")
    page_headers = security.headers_of_answers(security.page_policy(html))

    @app.get("/", response_class=HTMLResponse, summary="The page for people")
    async def page() -> Response:
        return HTMLResponse(html, headers=page_headers)

    @app.get("/healthz", response_model=schema.HealthBody, responses=_loading(), summary="Whether the models are ready")
    async def healthz() -> Response:
        ready = await service.backend.ready()
        return JSONResponse({"status": "ready" if ready else "loading"}, 200 if ready else 503)

    @app.get("/metrics", response_class=Response, responses=schema.errors(401), summary="Figures for Prometheus")
    async def metrics() -> Response:
        service.metrics.ready.set(await service.backend.ready())
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get(
        "/model", response_model=schema.ModelBody, responses=schema.errors(401), summary="Classes, models, regions"
    )
    async def model() -> Response:
        about = service.backend.about
        policy = asdict(about.policy) if about.policy else None
        content = {"classes": about.class_names, "models": about.models, "regions": about.boxes, "policy": policy}
        return JSONResponse({**content, "limits": asdict(service.limits)})

    @app.post(
        "/predict",
        response_model=schema.PredictBody,
        responses=schema.errors(400, 401, 403, 408, 411, 413, 415, 422, 429, 503),
        openapi_extra=schema.UPLOAD,
        summary="Classify the pages of one or many files",
    )
    async def predict(request: Request, preview: bool = False, name: str | None = None) -> Response:
        return await service.predict(request, preview=preview, name=name)


def _loading() -> dict[int | str, dict[str, Any]]:
    return {503: {"model": schema.HealthBody, "description": "The models are not ready."}}


def _error(status: int, reason: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"reason": reason, "detail": detail}, status, headers)


def _add_errors(app: FastAPI, metrics: Metrics) -> None:
    """Each error as an `ErrorBody`."""

    @app.exception_handler(UploadError)
    async def refused(_: Request, error: UploadError) -> Response:
        metrics.rejected.labels(error.reason).inc()
        return _error(error.status, error.reason, str(error))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> Response:
        metrics.rejected.labels(error.reason).inc()
        return _error(429, error.reason, str(error), {"Retry-After": str(error.retry_s)})

    @app.exception_handler(Unavailable)
    async def unavailable(_: Request, error: Unavailable) -> Response:
        metrics.rejected.labels("unavailable").inc()
        return _error(503, "unavailable", str(error), {"Retry-After": str(REPLICA_RETRY_S)})

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _error(422, "parameter", f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, "http", str(error.detail), dict(error.headers or {}))


def _add_checks(app: FastAPI, metrics: Metrics, access: security.Access) -> None:
    def on_answer(path: str, status: int, refusal: security.Refusal | None) -> None:
        metrics.requests.labels(path if path in _PATHS else "other", str(status)).inc()
        if refusal is not None:
            metrics.rejected.labels(refusal.reason).inc()

    app.add_middleware(security.Checks, access=access, on_answer=on_answer)


_PATHS = frozenset({"/", "/healthz", "/metrics", "/model", "/predict", "/openapi.json"})


def _describe_token(app: FastAPI) -> None:
    """State in the OpenAPI description that requests need the token."""
    description = app.openapi()
    description.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in description["paths"].items():
        if path not in security.OPEN_PATHS:
            for operation in operations.values():
                operation["security"] = [{"token": []}]
