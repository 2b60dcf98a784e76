"""The HTTP application with replicas that answer from a table: routes, statuses, limits, headers, figures."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import numpy as np
import pytest

from launch.service.app import Unavailable, create_app
from launch.service.decoder import Rejection
from launch.service.limits import Busy, Limits
from launch.service.replica import About, Classified, ClassifiedFile, PageView
from launch.service.security import Access
from tests.helpers.asgi import Reply, ask, ask_once
from trainer.serving.answer import json_schema

NAMES = ("letter", "form")
RAW = {"content-type": "image/tiff"}


VIEW = PageView(700, 1000, b"\xff\xd8\xff")


def file(*pages: float | Rejection) -> ClassifiedFile:
    """A file with the stack's probability of `letter` for each page that is not rejected; the model's is the other."""
    shares = [page for page in pages if not isinstance(page, Rejection)]
    rows = np.array([[share, 1 - share] for share in shares], np.float32)
    views = tuple(page if isinstance(page, Rejection) else VIEW for page in pages)
    return ClassifiedFile(views, {"holistic": rows[:, ::-1], "stack": rows} if shares else {})


TABLE: dict[bytes, Classified] = {
    b"letter": file(0.9),
    b"form": file(0.25),
    b"document": file(0.9, Rejection("unreadable", "page 2 is damaged"), 0.6),
    b"text": Rejection("unsupported", "not an image"),
    b"": Rejection("empty", "empty file"),
    b"huge": Rejection("too_large", "more than 10 pixels"),
    b"damaged": Rejection("unreadable", "truncated"),
    b"slow": Rejection("failed", "took longer than 20 s"),
    b"both": file(Rejection("unreadable", "one"), Rejection("too_large", "two")),
}


@dataclass
class Replicas:
    """A backend that answers from the table; `fails` is raised instead."""

    fails: Exception | None = None
    is_ready: bool = True
    waits: asyncio.Event | None = None
    about: About = field(
        default_factory=lambda: About((0, 1), NAMES, {"holistic": (0.0, 0.0, 1.0, 1.0)}, {"holistic": "holistic"})
    )

    async def ready(self) -> bool:
        return self.is_ready

    async def classify(self, content: bytes, *, preview: bool) -> Classified:
        if self.waits is not None:
            await self.waits.wait()
        if self.fails is not None:
            raise self.fails
        return TABLE[content]


def app_with(backend: Replicas | None = None, *, token: str | None = None, **limits: Any) -> Any:
    return create_app(backend or Replicas(), Limits(**limits), Access(token=token))


def form(*contents: bytes) -> dict[str, Any]:
    parts = [
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="%d.tif"\r\n\r\n%s\r\n' % (number, content)
        for number, content in enumerate(contents)
    ]
    return {"headers": {"content-type": "multipart/form-data; boundary=cut"}, "chunks": [*parts, b"--cut--\r\n"]}


def test_one_page() -> None:
    reply = ask_once(app_with(), "POST", "/predict?name=a.tif", headers=RAW, chunks=[b"let", b"ter"])
    assert reply.status == 200
    (answer,) = reply.json["answers"]
    jsonschema.validate(answer, json_schema())
    assert answer | {"probabilities": 0} == {
        "source": "a.tif", "kind": "page", "page": 1, "class": "letter", "confidence": 0.9,
        "runner_up": {"class": "form", "confidence": 0.1}, "decision": None,
        "members": {"holistic": {"class": "form", "confidence": 0.9}}, "error": None, "probabilities": 0,
    }  # fmt: skip
    assert "previews" not in reply.json


def test_a_row_for_each_file_and_page_in_their_order() -> None:
    reply = ask_once(app_with(), "POST", "/predict", **form(b"form", b"text", b"document", b""))
    assert reply.status == 200
    rows = [(row["source"], row["kind"], row["page"], row["class"], row["error"]) for row in reply.json["answers"]]
    assert rows == [
        ("0.tif", "page", 1, "form", None),
        ("1.tif", "document", None, None, "not an image"),
        ("2.tif", "page", 1, "letter", None),
        ("2.tif", "page", 2, None, "page 2 is damaged"),
        ("2.tif", "page", 3, "letter", None),
        ("2.tif", "document", None, "letter", None),
        ("3.tif", "document", None, None, "empty file"),
    ]


def test_previews_are_of_the_readable_pages() -> None:
    reply = ask_once(app_with(), "POST", "/predict?preview=true", **form(b"document", b"text"))
    assert [(p["source"], p["page"], p["width"]) for p in reply.json["previews"]] == [
        ("0.tif", 1, 700),
        ("0.tif", 3, 700),
    ]
    assert all(p["image"].startswith("data:image/jpeg;base64,") for p in reply.json["previews"])


@pytest.mark.parametrize(
    ("contents", "status", "reason"),
    [
        ([b"text"], 415, "unsupported"),
        ([b""], 422, "empty"),
        ([b"huge"], 413, "too_large"),
        ([b"damaged"], 422, "unreadable"),
        ([b"slow"], 422, "failed"),
        ([b"text", b"text"], 415, "all_rejected"),
        ([b"text", b"huge"], 422, "all_rejected"),
        ([b"both"], 422, "all_rejected"),
    ],
)
def test_nothing_readable(contents: list[bytes], status: int, reason: str) -> None:
    reply = ask_once(app_with(), "POST", "/predict", **form(*contents))
    assert (reply.status, reply.json["reason"]) == (status, reason)
    assert all(answer["error"] for answer in reply.json["answers"])


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/predict", {}, 415),
        ("POST", "/predict?preview=perhaps", RAW, 422),
        ("POST", "/predict", RAW | {"content-encoding": "gzip"}, 415),
        ("POST", "/predict", RAW | {"content-length": "9999999999"}, 413),
        ("POST", "/predict", RAW | {"content-length": "many"}, 400),
        ("POST", "/predict", RAW | {"origin": "https://elsewhere.example"}, 403),
        ("POST", "/predict", RAW | {"host": "elsewhere.example"}, 403),
        ("GET", "/predict", {}, 405),
        ("GET", "/absent", {}, 404),
        ("GET", "/../setup.cfg", {}, 404),
        ("GET", "/page/index.html", {}, 404),
        ("GET", "/docs", {}, 404),
    ],
)
def test_refused_requests(method: str, path: str, headers: dict[str, str], status: int) -> None:
    reply = ask_once(app_with(), method, path, headers=headers, chunks=[b"letter"])
    assert reply.status == status
    assert set(reply.json) >= {"reason", "detail"}


@pytest.mark.parametrize(
    ("error", "status"), [(Busy("full", reason="queue_full", retry_s=7), 429), (Unavailable("gone"), 503)]
)
def test_a_busy_service_says_when_to_ask_again(error: Exception, status: int) -> None:
    reply = ask_once(app_with(Replicas(fails=error)), "POST", "/predict", headers=RAW, chunks=[b"letter"])
    assert reply.status == status
    assert int(reply.headers["retry-after"]) >= 1


def test_a_full_queue_refuses_before_the_upload() -> None:
    async def two() -> tuple[Reply, Reply]:
        backend = Replicas(waits=asyncio.Event())
        app = app_with(backend, queue=1)
        first = asyncio.create_task(ask(app, "POST", "/predict", headers=RAW, chunks=[b"letter"]))
        while not app.state.service.admission.requests:
            await asyncio.sleep(0)
        second = await ask(app, "POST", "/predict", headers=RAW, chunks=never())
        assert backend.waits is not None
        backend.waits.set()
        return await first, second

    first, second = asyncio.run(two())
    assert (first.status, second.status) == (200, 429)
    assert "retry-after" in second.headers


async def never() -> AsyncIterator[bytes]:
    raise AssertionError("the body is read")
    yield b""


async def stalled() -> AsyncIterator[bytes]:
    yield b"let"
    await asyncio.Event().wait()


def test_a_slow_upload_ends_and_returns_its_place() -> None:
    app = app_with(upload_s=0.05)
    reply = ask_once(app, "POST", "/predict", headers=RAW, chunks=stalled())
    assert reply.status == 408
    assert app.state.service.admission.requests == 0


def test_a_slow_answer_ends() -> None:
    async def slow() -> Reply:
        backend = Replicas(waits=asyncio.Event())
        return await ask(app_with(backend, answer_s=0.05), "POST", "/predict", headers=RAW, chunks=[b"letter"])

    assert asyncio.run(slow()).status == 503


def test_the_token_protects_all_but_the_page_and_health() -> None:
    app = app_with(token="0123456789abcdef")
    with_token = {"authorization": "Bearer 0123456789abcdef"}
    for path in ("/metrics", "/model", "/openapi.json"):
        assert ask_once(app, "GET", path).status == 401
        assert ask_once(app, "GET", path, headers=with_token).status == 200
    assert ask_once(app, "POST", "/predict", headers=RAW, chunks=never()).status == 401
    assert ask_once(app, "POST", "/predict", headers=RAW | with_token, chunks=[b"letter"]).status == 200
    assert [ask_once(app, "GET", path).status for path in ("/", "/healthz")] == [200, 200]


def test_health_follows_the_replicas() -> None:
    backend = Replicas(is_ready=False)
    app = app_with(backend)
    assert ask_once(app, "GET", "/healthz").status == 503
    backend.is_ready = True
    assert ask_once(app, "GET", "/healthz").json == {"status": "ready"}


def test_every_answer_has_the_security_headers() -> None:
    for path in ("/", "/healthz", "/absent", "/model"):
        headers = ask_once(app_with(), "GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_figures_count_requests_pages_and_rejections() -> None:
    app = app_with()

    async def some() -> str:
        for content in (b"letter", b"form", b"text"):
            await ask(app, "POST", "/predict", headers=RAW, chunks=[content])
        await ask(app, "POST", "/predict", **form(b"document"))
        await ask(app, "GET", "/x/../../etc/passwd")
        return (await ask(app, "GET", "/metrics")).body.decode()

    text = asyncio.run(some())
    figures = dict(re.findall(r"^([a-z_]+(?:\{.*\})?) ([\d.e+]+)$", text, re.MULTILINE))
    assert figures['regionstack_requests_total{path="/predict",status="200"}'] == "3.0"
    assert figures['regionstack_requests_total{path="/predict",status="415"}'] == "1.0"
    assert figures['regionstack_requests_total{path="other",status="404"}'] == "1.0"
    assert figures["regionstack_pages_total"] == "4.0"
    assert figures['regionstack_rejected_total{reason="unsupported"}'] == "1.0"
    assert figures['regionstack_rejected_total{reason="unreadable"}'] == "1.0"
    assert figures['regionstack_decisions_total{decision="none"}'] == "4.0"
    assert figures['regionstack_predict_seconds_count{status="200"}'] == "3.0"
    assert figures["regionstack_requests_in_progress"] == "0.0"
    assert figures["regionstack_ready"] == "1.0"


def test_the_description_has_the_fields_of_an_answer() -> None:
    description = ask_once(app_with(token="0123456789abcdef"), "GET", "/openapi.json", headers={
        "authorization": "Bearer 0123456789abcdef"}).json  # fmt: skip
    bodies = description["components"]["schemas"]
    assert set(bodies["AnswerBody"]["properties"]) == set(json_schema()["properties"])
    assert set(bodies["VoteBody"]["properties"]) == {"class", "confidence"}
    predict = description["paths"]["/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "401", "403", "408", "411", "413", "415", "422", "429", "503"}
    assert "multipart/form-data" in predict["requestBody"]["content"]
    assert predict["security"]
    assert "security" not in description["paths"]["/healthz"]["get"]


def test_answers_fit_the_description() -> None:
    description = ask_once(app_with(), "GET", "/openapi.json").json
    for contents, body in (([b"letter", b"text", b"document"], "PredictBody"), ([b"text"], "ErrorBody")):
        reply = ask_once(app_with(), "POST", "/predict?preview=true", **form(*contents))
        schema = {"$ref": f"#/components/schemas/{body}", "components": description["components"]}
        jsonschema.validate(reply.json, schema)
    schema = {"$ref": "#/components/schemas/ModelBody", "components": description["components"]}
    jsonschema.validate(ask_once(app_with(), "GET", "/model").json, schema)
