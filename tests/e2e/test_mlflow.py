"""The process that follows a run for MLflow, with MLflow's own client, against a real HTTP server or a folder."""

import json
import shutil
import time
from pathlib import Path

import pytest

from launch.config import load_config
from launch.watching.tracking import follower as module
from launch.watching.tracking.follower import followed
from tests.helpers.mlflow_server import MlflowServer
from tests.helpers.waiting import wait_until
from tests.unit.launch.run_folder import RunSpec, build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "my-run", RunSpec(pages=32))


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A finished run with a report."""
    folder = tmp_path / "my-run"
    shutil.copytree(built, folder)
    (folder / "report.html").write_text("<html>")
    return folder


def follow(run: Path, uri: str, said: list[str], *, until: object = None) -> float:
    """Follow the finished run until `until`, a function, returns; the seconds that its end took."""
    config = load_config("demo", [f"run.folder={run}", f"tracking.mlflow={uri}"])
    with followed(config, say=said.append) as end:
        if callable(until):
            until()
        end.how = "finished"
        began = time.monotonic()
    return time.monotonic() - began


def test_a_run_on_a_server(run: Path) -> None:
    said: list[str] = []
    with MlflowServer() as server:
        follow(run, server.uri, said)
        parent, top = server.named("my-run"), server.named("top")
        rows = [json.loads(line) for line in (run / "jobs" / "top" / "metrics.jsonl").read_text().splitlines()]
        assert top.tags == {
            "mlflow.parentRunId": parent.id,
            **{k: v for k, v in top.tags.items() if k[:7] != "mlflow."},
        }
        assert top.metrics["val_accuracy"] == [(row["step"], row["val_accuracy"]) for row in rows]
        assert parent.parameters["seed"] == "1"
        assert set(parent.artifacts) == {"config.yaml", "report.html"}
        assert {found.status for found in server.runs.values()} == {"FINISHED"}
        assert len(server.runs) == 8
        follow(run, server.uri, said)
        assert len(server.runs) == 8, "the same runs are continued"
    assert said == []


def test_a_server_that_dies_midway_and_comes_back(run: Path) -> None:
    said: list[str] = []
    metrics = run / "jobs" / "stack" / "metrics.jsonl"
    rows = metrics.read_text()
    metrics.unlink()
    with MlflowServer() as server:

        def die_and_train() -> None:
            wait_until(lambda: "stack" in [found.name for found in server.runs.values()], limit_s=60)
            server.die()
            metrics.write_text(rows)
            wait_until(lambda: bool(said), limit_s=60)

        assert follow(run, server.uri, said, until=die_and_train) < module.END_S
        assert len(said) == 1
        assert server.uri in said[0]
        known, port = server.runs, server.port
    back = MlflowServer(port)
    back.runs, back.experiments = known, server.experiments
    with back:
        follow(run, back.uri, said)
        assert [step for step, _ in back.named("stack").metrics["val_accuracy"]]
        assert len(back.runs) == 8
    assert len(said) == 1


def test_a_server_that_hangs_delays_the_end_by_seconds(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    said: list[str] = []
    with MlflowServer() as server:
        server.hanging.set()
        assert follow(run, server.uri, said, until=lambda: wait_until(lambda: bool(said), limit_s=60)) < 5
    assert len(said) == 1
    assert "no answer in time" in said[0]


def test_a_request_without_end_is_given_up(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setattr(module, "END_S", 1.0)
    said: list[str] = []
    with MlflowServer() as server:
        server.hanging.set()
        assert follow(run, server.uri, said, until=lambda: wait_until(lambda: bool(server.requests))) < 5
    assert len(said) == 1


def test_a_run_in_a_folder(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    follow(run, f"file:{tmp_path / 'store'}", said)
    assert said == []
    assert list((tmp_path / "store").rglob("val_accuracy"))


def test_a_server_whose_address_is_wrong_is_one_line(run: Path) -> None:
    said: list[str] = []
    follow(run, "http://no-such-host.invalid:5000", said)
    assert len(said) == 1
    assert "does not resolve" in said[0]
