"""The review's service: who may ask, what is written, and what is refused without a trace."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_tools.labels.corrections import read_corrections
from launch.labels.review.content import Review, ReviewOptions, open_review
from launch.labels.review.service import review_app
from launch.service.security import Access
from tests.helpers.asgi import ask_once
from tests.helpers.service import Reply
from tests.unit.launch.labels.review.ranked import IDS, make_run

JSON = {"content-type": "application/json"}
TOKEN = "0123456789abcdef"


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return open_review(ReviewOptions(run=make_run(tmp_path)))


def post(review: Review, value: Any, *, access: Access | None = None, **headers: str) -> Reply:
    app = review_app(review, access or Access())
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return ask_once(app, "POST", "/decisions", headers={**JSON, **headers}, chunks=[body])


KEEP = [{"id": IDS[0], "split": "train", "decision": "keep"}]


def test_decisions_reach_the_table_and_come_back(review: Review) -> None:
    assert post(review, KEEP).status == 200
    assert post(review, [{"id": IDS[1], "split": "train", "decision": "relabel", "label": 4}]).status == 200
    assert [row.new_label for row in read_corrections(review.sheet.path).rows] == ["keep", "4"]
    shown = ask_once(review_app(review, Access()), "GET", "/data").json
    assert shown["serve"] is True
    assert {(one["id"], one["decision"]) for one in shown["decisions"]} == {(IDS[0], "keep"), (IDS[1], "relabel")}
    assert post(review, [{**KEEP[0], "decision": None}]).status == 200
    assert [row.id for row in read_corrections(review.sheet.path).rows] == [IDS[1]]


@pytest.mark.parametrize(
    "value", [{}, "no", [1], [*KEEP, {"id": "x", "split": "train"}], b"{", b"[" * 100_000, b"\xff", b" " * 2_000_000]
)
def test_a_request_without_decisions_writes_nothing(review: Review, value: Any) -> None:
    reply = post(review, value)
    assert reply.status == 400
    assert reply.json["detail"]
    assert not review.sheet.path.exists()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"content-type": "text/plain"}, 400),
        ({"content-type": "application/x-www-form-urlencoded"}, 400),
    ],
)
def test_requests_of_foreign_pages(review: Review, headers: dict[str, str], status: int) -> None:
    assert post(review, KEEP, **headers).status == status
    assert review.sheet.path.exists() == (status == 200)


def test_a_token_protects_the_pages_and_the_table(review: Review) -> None:
    access = Access(token=TOKEN, loopback_only=False)
    app = review_app(review, access)
    shell = ask_once(app, "GET", "/")
    assert shell.status == 200
    assert IDS[0] not in shell.body.decode()
    assert ask_once(app, "GET", "/data").status == 401
    assert post(review, KEEP, access=access).status == 401
    assert not review.sheet.path.exists()
    assert ask_once(app, "GET", "/data", headers={"authorization": f"Bearer {TOKEN}"}).status == 200
    assert post(review, KEEP, access=access, authorization=f"Bearer {TOKEN}").status == 200


def test_a_table_that_cannot_be_written_is_reported(review: Review) -> None:
    review.sheet.path.mkdir()
    reply = post(review, KEEP)
    assert reply.status in (400, 507)
    assert "corrections.csv" in reply.json["detail"]


def test_other_methods_and_paths(review: Review) -> None:
    app = review_app(review, Access())
    assert ask_once(app, "GET", "/decisions").status == 405
    assert ask_once(app, "GET", "/../corrections.csv").status == 404
    assert "default-src 'none'" in ask_once(app, "GET", "/data").headers["content-security-policy"]
