"""Tokens, exposure to other machines, foreign pages, and the policy of the page."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.service.app import PAGE
from launch.service.security import Access, check_exposure, page_policy, read_token, refusal

TOKEN = "0123456789abcdef"
HERE = {"host": "127.0.0.1:8000"}


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(str(file), {}) == TOKEN
    assert read_token(str(file), {"REGIONSTACK_TOKEN": "another-token-of-20"}) == TOKEN
    assert read_token(None, {"REGIONSTACK_TOKEN": TOKEN}) == TOKEN
    assert read_token(None, {}) is None


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"with a space in it, long\n", "ünïcödé-tökën-öf-20".encode(), b"\xff" * 20]
)
def test_a_token_that_no_header_can_carry(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(UserError, match="token"):
        read_token(str(file), {})


def test_a_missing_token_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent"):
        read_token(str(tmp_path / "absent"), {})
    with pytest.raises(UserError, match="REGIONSTACK_TOKEN"):
        read_token(None, {"REGIONSTACK_TOKEN": ""})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_token(host: str) -> None:
    check_exposure(host, None, without_token=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "scanner.example", ""])
def test_other_addresses_need_one(host: str) -> None:
    with pytest.raises(UserError, match="token"):
        check_exposure(host, None, without_token=False)
    check_exposure(host, TOKEN, without_token=False)
    check_exposure(host, None, without_token=True)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/predict", {}, 401),
        ("/predict", {"authorization": TOKEN}, 401),
        ("/predict", {"authorization": f"Basic {TOKEN}"}, 401),
        ("/predict", {"authorization": f"Bearer {TOKEN}x"}, 401),
        ("/predict", {"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ("/predict", {"authorization": "Bearer"}, 401),
        ("/predict", {"authorization": "Bearer \xff"}, 401),
        ("/metrics", {}, 401),
        ("/model", {}, 401),
        ("/openapi.json", {}, 401),
        ("//", {}, 401),
        ("/predict", {"authorization": f"Bearer {TOKEN}"}, None),
        ("/predict", {"authorization": f"bearer  {TOKEN}"}, None),
        ("/healthz", {}, None),
        ("/", {}, None),
    ],
)
def test_the_token_is_asked_for(path: str, headers: dict[str, str], status: int | None) -> None:
    found = refusal(path, HERE | headers, Access(token=TOKEN, loopback_only=False))
    assert (found and found.status) == status


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"host": "127.0.0.1:8000"}, False),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, False),
        ({"host": "[::1]:8000"}, False),
        # A page elsewhere, and a name that was made to resolve to this machine.
        ({"host": "localhost:8000", "origin": "https://evil.example"}, True),
        ({"host": "localhost:8000", "origin": "null"}, True),
        ({"host": "localhost:8000", "origin": "http://["}, True),
        ({"host": "", "origin": ""}, True),
        ({"host": "localhost:8000", "origin": "http://localhost:9000"}, True),
        ({"host": "evil.example:8000"}, True),
        ({"host": "evil.example:8000", "origin": "http://evil.example:8000"}, True),
        ({"host": "[::1:8000"}, True),
        ({"host": ""}, True),
        ({}, True),
    ],
)
def test_foreign_pages_are_refused(headers: dict[str, str], foreign: bool) -> None:
    found = refusal("/predict", headers, Access())
    assert (found is not None and found.status == 403) == foreign


def test_the_page_runs_its_own_script_and_loads_nothing() -> None:
    html = PAGE.read_text()
    policy = page_policy(html)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == html.count("<style>") + html.count("<script>") == 2
    for sign in ("http://", "https://", "stylesheet", " src=", "<iframe", " onclick=", " style="):
        assert sign not in html.replace("http://www.w3.org/2000/svg", ""), sign
