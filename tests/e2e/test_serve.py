"""`regionstack serve` over real HTTP: answers, limits, token, malformed uploads, a killed replica, a clean end."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import psutil
import pytest

from tests.helpers.browser import install
from tests.helpers.commands import ROOT, environment, regionstack
from tests.helpers.malformed_uploads import malformed, status_of
from tests.helpers.ports import free_ports
from tests.helpers.service import Reply, Service, serving
from tests.helpers.waiting import wait_until
from trainer.serving.answer import json_schema

TOKEN = "correct-horse-battery"
LIMITS = (
    "--max-upload-mib", "2", "--max-files", "4", "--max-megapixels", "4", "--max-decode-s", "5",
    "--max-pages", "3", "--max-queue", "8",
)  # fmt: skip
MALFORMED = 2000
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/tiff\r\n"


@pytest.fixture(scope="module")
def service(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the finished run with two replicas and small limits."""
    with serving(finished, tmp_path_factory.mktemp("serve"), "--replicas", "2", "--decoders", "1", *LIMITS) as service:
        yield service


@pytest.fixture(scope="module")
def scans(tiny: Path) -> list[Path]:
    return sorted((tiny.parent / "pages").rglob("*.tif"))[:6]


@pytest.fixture(scope="module")
def expected(finished: Path, scans: list[Path]) -> dict[str, dict[str, Any]]:
    """The answers of `regionstack predict`, by path of the page; pages of different classes have the same name."""
    lines = regionstack("predict", str(finished), *map(str, scans), "--jsonl", "-", "--all").splitlines()
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    return {answer["source"]: answer for answer in answers}


def same(answer: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two answers say the same; the sixth digit may depend on the batch."""
    for model, shares in wanted["probabilities"].items():
        given = answer["probabilities"][model]
        if list(given) != list(shares) or not np.allclose(list(given.values()), list(shares.values()), atol=2e-5):
            return False
    return all(answer[key] == wanted[key] for key in ("kind", "page", "class", "decision", "error"))


def test_answers_are_those_of_predict(service: Service, scans: list[Path], expected: dict[str, dict[str, Any]]) -> None:
    for files in (scans[:1], scans[2:6]):
        reply = service.predict(*[(path.name, path.read_bytes()) for path in files])
        assert reply.status == 200
        assert [answer["source"] for answer in reply.json["answers"]] == [path.name for path in files]
        for answer in reply.json["answers"]:
            jsonschema.validate(answer, json_schema())
        for answer, path in zip(reply.json["answers"], files, strict=True):
            assert same(answer, expected[str(path)])
    raw = service.ask("POST", "/predict", scans[1].read_bytes(), {"Content-Type": "image/tiff"})
    assert same(raw.json["answers"][0], expected[str(scans[1])])


def test_the_documented_requests(service: Service, scans: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "page.tif").write_bytes(scans[0].read_bytes())
    pages = [Image.open(path).convert("L") for path in scans[:2]]
    pages[0].save(tmp_path / "contract.pdf", save_all=True, append_images=pages[1:])
    commands = re.findall(r"^curl .*127.0.0.1.*$", (ROOT / "docs" / "serve.md").read_text(), re.MULTILINE)
    assert len(commands) == 3
    curl = install("curl", "curl")
    for command in commands:
        command = command.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}").replace("curl", f"{curl} -sf", 1)
        ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True)
        answers = json.loads(ended.stdout)["answers"]
        assert all(answer["class"] for answer in answers)
        assert len([answer for answer in answers if answer["kind"] == "page"]) == (3 if "pdf" in command else 1)


def test_dead_decoders_lose_no_request(service: Service, scans: list[Path]) -> None:
    decoders = [child for child in service.children() if "launch.service.decoder" in " ".join(child.cmdline())]
    assert len(decoders) == 2
    for decoder in decoders:
        decoder.kill()
    wait_until(lambda: all(decoder.status() == psutil.STATUS_ZOMBIE for decoder in decoders), "dead decoders")
    assert [service.predict(("a.tif", scans[0].read_bytes())).status for _ in range(4)] == [200] * 4


def test_a_mixed_upload_has_a_row_for_each_file(service: Service, scans: list[Path]) -> None:
    page = scans[0].read_bytes()
    reply = service.predict(
        ("a.tif", page), ("b.tif", page[:300]), ("c.txt", b"text"), ("d.tif", b""), query="?preview=true"
    )
    rows = [(row["source"], row["error"] is None) for row in reply.json["answers"]]
    assert (reply.status, rows) == (200, [("a.tif", True), ("b.tif", False), ("c.txt", False), ("d.tif", False)])
    assert all(row["error"] for row in reply.json["answers"][1:])
    assert len(reply.json["previews"]) == 1


def png_of(width: int, height: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("L", (width, height), 255).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a.txt", b"plain text", 415),
        ("a.tif", b"", 422),
        ("a.tif", b"II*\0" + bytes(100), 422),
        ("a.png", png_of(2100, 2000), 413),
        ("a.tif", bytes(2**21 + 1), 413),
    ],
)
def test_a_refused_file(service: Service, name: str, content: bytes, status: int) -> None:
    reply = service.predict((name, content))
    assert reply.status == status
    assert reply.json["reason"]
    assert reply.json["detail"]


def test_more_files_than_the_limit(service: Service, scans: list[Path]) -> None:
    assert service.predict(*[("a.tif", scans[0].read_bytes())] * 5).status == 413


def test_an_endless_upload_ends_at_the_limit(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(40):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_full_queue_answers_429(service: Service, scans: list[Path]) -> None:
    """Eight uploads that do not end hold all places."""
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=60))
            one.sendall(HEAD + b"Content-Length: 9999\r\n\r\nII")
        wait_until(lambda: b"in_progress 8.0" in service.ask("GET", "/metrics").body, "eight requests", limit_s=30)
        reply = service.predict(("a.tif", scans[0].read_bytes()))
        assert (reply.status, reply.json["reason"]) == (429, "queue_full")
        assert int(reply.headers["retry-after"]) >= 1
    wait_until(lambda: b"in_progress 0.0" in service.ask("GET", "/metrics").body, "free places", limit_s=30)
    assert service.predict(("a.tif", scans[0].read_bytes())).status == 200


def test_health_figures_and_description(service: Service) -> None:
    assert service.ask("GET", "/healthz").json == {"status": "ready"}
    text = service.ask("GET", "/metrics").body.decode()
    assert "regionstack_ready 1.0" in text
    assert 'regionstack_predict_seconds_bucket{le="0.1",status="200"}' in text
    description = service.ask("GET", "/openapi.json").json
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {"/", "/healthz", "/metrics", "/model", "/predict"}
    assert service.ask("GET", "/model").json["limits"]["upload_mib"] == 2


def test_2000_malformed_uploads(service: Service, scans: list[Path], expected: dict[str, dict[str, Any]]) -> None:
    requests = list(malformed([path.read_bytes() for path in scans[:3]], count=MALFORMED, seed=12))
    with ThreadPoolExecutor(6) as pool:
        statuses = Counter(pool.map(lambda one: status_of(service.port, one[0], closes=one[1]), requests))
    assert sum(statuses.values()) == MALFORMED
    assert not [status for status in statuses if status is not None and not 200 <= status < 500], statuses
    # The mutations are neither too mild nor too wild, and most of them reach the decoders.
    assert statuses[200] > 50 and statuses[422] > 200 and statuses[400] > 50, statuses
    reply = service.predict((scans[0].name, scans[0].read_bytes()))
    assert same(reply.json["answers"][0], expected[str(scans[0])])
    assert "Traceback" not in service.errors.read_text()


def test_a_killed_replica_loses_no_request(
    service: Service, scans: list[Path], expected: dict[str, dict[str, Any]]
) -> None:
    before = service.replicas()
    assert len(before) == 2
    until = time.monotonic() + 6
    page = scans[0].read_bytes()

    def client(_: int) -> list[Reply]:
        replies = []
        while time.monotonic() < until:
            replies.append(service.predict((scans[0].name, page)))
        return replies

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        wait_until(lambda: b'path="/predict",status="200"' in service.ask("GET", "/metrics").body, "load")
        os.kill(before[0], signal.SIGKILL)
        replies = [reply for one in clients for reply in one.result()]
    assert Counter(reply.status for reply in replies).keys() == {200}
    assert all(same(reply.json["answers"][0], expected[str(scans[0])]) for reply in replies)
    wait_until(lambda: len(set(service.replicas()) - {before[0]}) == 2, "a new replica", limit_s=90)


def test_ctrl_c_answers_what_is_in_progress_and_leaves_nothing(
    finished: Path, tmp_path: Path, scans: list[Path]
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with serving(finished, tmp_path, "--token-file", str(tmp_path / "token"), "--decoders", "1") as service:
        assert service.predict(("a.tif", scans[0].read_bytes())).status == 401
        assert service.ask("GET", "/metrics").status == 401
        assert service.ask("GET", "/healthz").status == 200
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert service.predict(("a.tif", scans[0].read_bytes()), headers=bearer).status == 200
        children = service.children()
        page = scans[0].read_bytes()
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/tiff\r\nContent-Length: {len(page)}"
            )
            connection.sendall(f"{head}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode() + page[:500])
            wait_until(lambda: _in_progress(service, bearer) == 1, "the request", limit_s=30)
            os.killpg(service.process.pid, signal.SIGINT)  # a terminal sends it to all processes of the command
            wait_until(lambda: not _accepts(service.port), "an end of accepting", limit_s=30)
            connection.sendall(page[500:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert service.process.wait(60) == 0
        assert psutil.wait_procs(children, timeout=10)[1] == []
    assert len(service.output.read_text().splitlines()) == 1
    assert "Traceback" not in service.errors.read_text()
    assert "WARNING" not in service.errors.read_text()


def _in_progress(service: Service, headers: dict[str, str]) -> float:
    lines = service.ask("GET", "/metrics", headers=headers).body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("regionstack_requests_in_progress "))


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


def test_mistakes_are_one_line(finished: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        cases = [
            ([str(finished), "--port", port], "in use"),
            ([str(finished), "--host", "0.0.0.0"], "token"),
            ([str(finished), "--host", "192.0.2.1", "--without-token"], "192.0.2.1"),
            ([str(finished), "--max-queue", "0"], "--max-queue"),
            ([str(finished), "--token-file", str(tmp_path / "absent")], "absent"),
            ([str(tmp_path)], "not a run folder"),
        ]
        with ThreadPoolExecutor(3) as pool:
            outputs = pool.map(lambda case: regionstack("serve", *case[0], status=2), cases)
            for (_, words), output in zip(cases, outputs, strict=True):
                assert words in output
                assert len(output.strip().splitlines()) == 1, output


def test_a_corrupt_model_is_one_line(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    for weights in (run / "jobs" / "top" / "checkpoints").rglob("weights.safetensors"):
        weights.write_bytes(weights.read_bytes()[:1000])
    *_, line = regionstack("serve", str(run), "--port", "0", status=2).strip().splitlines()
    assert line.startswith("error: ")
    assert "weights" in line


def test_the_application_of_a_serve_config_file(finished: Path, scans: list[Path], tmp_path: Path) -> None:
    """Built by its import path, as a RayService does, behind Serve's own proxy."""
    script = tmp_path / "built.py"
    script.write_text(_BUILT)
    ended = subprocess.run(
        [sys.executable, str(script), str(finished), str(scans[0])], env=environment(), capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    statuses = json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("{")))
    assert statuses == {"health": 200, "page": 200, "raw": 200, "large": 413, "chunked": 411, "absent": 404}


_BUILT = """
import http.client, importlib, json, sys
import ray
from ray import serve
from tests.helpers.ports import free_ports
(port,) = free_ports(1)
ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=2)
serve.start(http_options={"host": "127.0.0.1", "port": port})
module, _, name = "launch.service.deployment:app".partition(":")
build = getattr(importlib.import_module(module), name)
serve.run(build({"run": sys.argv[1], "decoders": 1, "limits": {"upload_mib": 1}}), name="documents")
page = open(sys.argv[2], "rb").read()
def ask(method, path, body=None, **options):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {"Content-Type": "image/tiff"}, **options)
    return connection.getresponse().status
print(json.dumps({
    "health": ask("GET", "/healthz"), "page": ask("GET", "/"), "raw": ask("POST", "/predict", page),
    "large": ask("POST", "/predict", bytes(2**20 + 1)),
    "chunked": ask("POST", "/predict", iter([page]), encode_chunked=True), "absent": ask("GET", "/absent"),
}))
serve.shutdown()
ray.shutdown()
"""


def test_behind_nginx_as_documented(service: Service, scans: list[Path], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (documented,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL)
    server = re.sub(r" *ssl_certificate.*\n", "", documented).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    server = server.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}").replace("64m", "2m")
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; user root; pid {tmp_path}/pid; error_log stderr; events {{}}"
    (tmp_path / "nginx.conf").write_text(f"{main} http {{ access_log off; {folders} {server} }}")
    process = subprocess.Popen(
        [install("nginx", "nginx-light"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    )
    try:
        wait_until(lambda: _accepts(port), "nginx", limit_s=30)
        front = replace(service, port=port)
        host = {"Host": f"localhost:{port}"}
        page = scans[0].read_bytes()
        assert front.predict(("a.tif", page), headers={**host, "Origin": f"http://localhost:{port}"}).status == 200
        assert front.predict(("a.tif", page), headers={**host, "Origin": "http://elsewhere.example"}).status == 403
        assert front.predict(("a.tif", bytes(2**21 + 1)), headers=host).status == 413
        assert front.ask("GET", "/metrics").status == 403
        assert front.ask("GET", "/healthz").status == 200
    finally:
        process.terminate()
        process.wait(30)
