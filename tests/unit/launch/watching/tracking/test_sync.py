"""A run folder on an MLflow server: everything once, whatever fails in between."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from launch.watching.tracking.follow import follow, is_free
from launch.watching.tracking.server import ServerError, Status, flat
from launch.watching.tracking.sync import RECORD, Sync
from tests.unit.launch.run_folder import RunSpec, build

JOBS = ("holistic_128", "top")


class FakeServer:
    """Keeps what it gets. fail_at: number of the call, from 1, that fails and those after it; 0: none."""

    def __init__(self) -> None:
        self.calls = 0
        self.fail_at = 0
        self.gone = False
        self.runs: dict[str, dict[str, Any]] = {}

    def _call(self) -> None:
        self.calls += 1
        if self.fail_at and self.calls >= self.fail_at:
            raise ServerError("connection refused", gone=self.gone)

    def experiment(self, name: str) -> str:
        self._call()
        return "1"

    def create_run(self, experiment: str, name: str, *, started: float, parent: str | None = None) -> str:
        self._call()
        run = f"run-{len(self.runs)}"
        self.runs[run] = {"name": name, "parent": parent, "metrics": [], "parameters": [], "status": "RUNNING",
                          "files": []}  # fmt: skip
        return run

    def parameters(self, run: str, values: Mapping[str, Any]) -> None:
        self._call()
        self.runs[run]["parameters"].append(dict(values))

    def metrics(self, run: str, values: Mapping[str, float], *, step: int, moment: float) -> None:
        self._call()
        self.runs[run]["metrics"].append((step, dict(values)))

    def artifact(self, run: str, path: Path) -> None:
        self._call()
        self.runs[run]["files"].append((path.name, path.read_text()))

    def set_status(self, run: str, status: Status) -> None:
        self._call()
        self.runs[run]["status"] = status

    def named(self, name: str) -> dict[str, Any]:
        """The only run of this name."""
        (found,) = [run for run in self.runs.values() if run["name"] == name]
        return found


def sync(folder: Path, server: FakeServer, uri: str = "http://a") -> Sync:
    return Sync(folder, server, uri=uri, experiment="e")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "my-run", RunSpec(done=JOBS, pages=32))


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A finished run."""
    folder = tmp_path / "my-run"
    shutil.copytree(built, folder)
    (folder / "report.html").write_text("<html>")
    return folder


def check_complete(server: FakeServer) -> None:
    """Every figure of the run is there exactly once."""
    parent = server.named("my-run")
    assert parent["status"] == "FINISHED"
    assert sorted(name for name, _ in parent["files"]) == ["config.yaml", "report.html"]
    assert len(server.runs) == 1 + len(JOBS)
    for name in JOBS:
        job = server.named(name)
        assert server.runs[job["parent"]] is parent
        steps = [step for step, values in job["metrics"] if "val_accuracy" in values]
        assert steps and steps == sorted(set(steps))
        assert sum("best/test_accuracy" in values for _, values in job["metrics"]) == 1
        assert job["status"] == "FINISHED"
    assert len(parent["parameters"]) == 1


def test_a_finished_run_is_sent_once(run: Path) -> None:
    server = FakeServer()
    sync(run, server).send("FINISHED")
    check_complete(server)
    before = server.calls
    sync(run, server).send("FINISHED")
    check_complete(server)
    assert server.calls == before, "nothing is new"


@pytest.mark.parametrize("fail_at", (1, 2, 3, 8, 12))
def test_a_server_that_dies_anywhere_gets_the_rest_later(run: Path, fail_at: int) -> None:
    server = FakeServer()
    server.fail_at = fail_at
    with pytest.raises(ServerError):
        sync(run, server).send("FINISHED")
    server.fail_at = 0
    sync(run, server).send("FINISHED")  # another process: it knows only what the run folder holds
    check_complete(server)


def test_an_epoch_that_is_trained_again_is_not_sent_twice(run: Path) -> None:
    metrics = run / "jobs" / "top" / "metrics.jsonl"
    rows = metrics.read_text().splitlines()
    server = FakeServer()
    one = sync(run, server)
    for count in (2, 1, 2, 3):  # a killed attempt's last row goes, and comes again
        metrics.write_text("".join(f"{row}\n" for row in rows[:count]))
        one.send()
    steps = [step for step, values in server.named("top")["metrics"] if "val_accuracy" in values]
    assert len(steps) == 3


def test_runs_that_the_server_no_longer_knows_are_made_anew(run: Path) -> None:
    server = FakeServer()
    one = sync(run, server)
    one.send("FINISHED")
    (run / "report.html").write_text("<html> changed")
    server.fail_at, server.gone = server.calls + 1, True
    with pytest.raises(ServerError):
        one.send("FINISHED")
    fresh = FakeServer()
    one._server = fresh
    one.send("FINISHED")
    check_complete(fresh)


def test_another_server_gets_everything(run: Path) -> None:
    first, second = FakeServer(), FakeServer()
    sync(run, first).send("FINISHED")
    sync(run, second, "http://b").send("FINISHED")
    check_complete(second)


def test_jobs_that_failed_or_were_stopped(tmp_path: Path) -> None:
    spec = RunSpec(done=("holistic_128", "holistic_256"), failed=("top",), running=("left",), pages=32)
    run = build(tmp_path / "my-run", spec)
    server = FakeServer()
    one = sync(run, server)
    one.send()
    assert server.named("left")["status"] == "RUNNING"
    one.send("KILLED")
    names = ("my-run", "holistic_256", "top", "left")
    assert [server.named(name)["status"] for name in names] == ["KILLED", "FINISHED", "FAILED", "KILLED"]
    one.send()
    assert [server.named(name)["status"] for name in ("my-run", "left")] == ["RUNNING", "RUNNING"]


def test_workers_environment_is_not_sent(run: Path) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{text}cluster:\n  environment:\n    AWS_SECRET: hunter2\n")
    server = FakeServer()
    sync(run, server).send("FINISHED")
    sent = json.dumps(server.runs)
    assert "AWS_SECRET" in sent
    assert "hunter2" not in sent


def test_a_store_that_refuses_files_leaves_the_rest_complete(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()

    def refuse(run: str, path: Path) -> None:
        raise ServerError("403")

    monkeypatch.setattr(server, "artifact", refuse)
    with pytest.raises(ServerError):
        sync(run, server).send("FINISHED")
    assert {found["status"] for found in server.runs.values()} == {"FINISHED"}


def test_settings_become_one_level() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}


def waits(*endings: str | None) -> Callable[[float], str | None]:
    """A stand-in for `wait_for_end` that gives these one after the other."""
    left = list(endings)
    return lambda _: left.pop(0)


def test_one_line_for_all_failures(run: Path) -> None:
    server = FakeServer()
    server.fail_at = 1
    said: list[str] = []
    follow(lambda: sync(run, server), wait=waits(None, None, "finished"), say=said.append)
    assert said == ["connection refused"]


def test_a_run_that_another_process_follows_is_left_to_it(run: Path) -> None:
    said: list[str] = []
    server = FakeServer()
    free = iter([False, False, True])
    follow(lambda: sync(run, server) if next(free) else None, wait=waits(None, None, None, "finished"), say=said.append)
    check_complete(server)
    follow(lambda: None, wait=waits(None, "finished"), say=said.append)
    assert said == []


def test_one_process_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as first, (tmp_path / "lock").open("a") as second:
        assert is_free(first)
        assert is_free(first)
        assert not is_free(second)
        first.close()
        assert is_free(second)


@pytest.mark.parametrize(("ending", "status"), [("finished", "FINISHED"), ("failed", "FAILED"), ("", "KILLED")])
def test_how_a_run_ends(run: Path, ending: str, status: str) -> None:
    server = FakeServer()
    said: list[str] = []
    follow(lambda: sync(run, server), wait=waits(None, ending), say=said.append)
    assert (server.named("my-run")["status"], said) == (status, [])
    assert (run / RECORD).exists()
