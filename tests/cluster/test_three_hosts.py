"""The shipped cluster.yaml on three real hosts: up, submit, a host cut off, the head killed, down.

Only addresses, user and key are filled in. The hosts take the environment that the tests run in, as hosts with an
environment on shared storage do (VENV in their login shell); the shipped set-up commands run on each all the same.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_tools.files import read_json, read_lines
from data_tools.stop import STOPPED
from tests.cluster.rack import SHARED, VENV, Rack, copy_project, install_tools
from tests.helpers.commands import ROOT
from tests.helpers.run_folders import copy_without
from tests.helpers.tiny import TINY
from tests.helpers.waiting import wait_until
from trainer.hook import PROGRESS_HOOK

DESK, HEAD, ONE, TWO = "desk", "head", "one", "two"
HOSTS = (HEAD, ONE, TWO)
REGIONS = ("top", "bottom", "left", "right")
FIGURES = ("weights_digest", "val_accuracy", "test_accuracy", "test_loss", "world_size")
UP = ["ray", "up", "--yes", "cluster.yaml"]
LITERALLY = ["ray", "submit", "cluster.yaml", "launch/train_all.py"]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Three hosts with Ray up, a desk to work from, and a tiny set of pages on the shared storage."""
    install_tools()
    rack = Rack(tmp_path_factory.mktemp("rack"), (DESK, *HOSTS))
    try:
        for host in HOSTS:
            (rack.folder / host / "home" / ".bashrc").write_text(f"export VENV={VENV}\n")
        copy_project(rack.folder / DESK / "home" / "project", filled_in={
            "192.0.2.10": rack.address(HEAD),
            "192.0.2.11": rack.address(ONE),
            "192.0.2.12": rack.address(TWO),
            "ssh_user: ubuntu": "ssh_user: root",
            "~/.ssh/id_ed25519": "/root/.ssh/id_ed25519",
        })  # fmt: skip
        # Only the packages travel to the hosts, so the faults travel within one.
        desk = rack.folder / DESK / "home" / "project"
        shutil.copy(ROOT / "tests" / "helpers" / "faults.py", desk / "trainer")
        shutil.copy(ROOT / "tests" / "cluster" / "pace.py", desk / "trainer")
        (desk / "tiny.yaml").write_text(yaml.safe_dump(tiny(), sort_keys=False))
        (desk / "regionstack.yaml").write_text(yaml.safe_dump(tiny() | {"run": {"folder": "runs/full"}}))
        from_desk(rack, "ray", "get-auth-token", "--generate")
        from_desk(rack, *UP)
        from_desk(rack, "ray", "rsync-up", "cluster.yaml", "tiny.yaml", "~/tiny.yaml")
        from_desk(rack, "ray", "rsync-up", "cluster.yaml", "regionstack.yaml", f"{SHARED}/regionstack.yaml")
        draw = "regionstack draw --out pages --train 6 --val 2 --test 2"
        from_desk(rack, "ray", "exec", "cluster.yaml", draw)
        yield rack
    finally:
        rack.close()


def tiny() -> dict[str, Any]:
    """One whole-page stage and the regions; three checkpoints per epoch."""
    config: dict[str, Any] = json.loads(json.dumps(TINY))
    config["stages"]["holistic_32px"] = None
    config["stages"]["holistic_16"]["epochs"] = 2
    config["stages"]["regions"]["start"] = "holistic_16"
    config.setdefault("cluster", {})["environment"] = {PROGRESS_HOOK: "trainer.faults:inject"}
    return config


def from_desk(rack: Rack, *command: str, status: int = 0) -> str:
    """Run a command as a user does, in the project's folder on a machine outside the cluster."""
    return rack.run(DESK, ["env", "--chdir=project", *command], status=status)


def submit(run: str) -> list[str]:
    """The command that users type."""
    settings = ["--set", f"run.folder=runs/{run}"]
    return [*LITERALLY, "--", "--config", "tiny.yaml", *settings]


@pytest.fixture(scope="module")
def full(rack: Rack) -> Path:
    """Folder of an uninterrupted run, by the command without any argument; its output is in `output.txt` beside it."""
    (rack.shared / "output.txt").write_text(from_desk(rack, *LITERALLY))
    return rack.shared / "runs" / "full"


def figures(folder: Path) -> dict[str, list[Any]]:
    """By job: the figures that must be equal."""
    results = {path.parent.name: read_json(path) for path in (folder / "jobs").glob("*/result.json")}
    return {job: [result.get(figure) for figure in FIGURES] for job, result in results.items()}


def events(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The last event of that kind of each job."""
    return {event["job"]: event for event in read_lines(folder / "events.jsonl") if event["event"] == kind}


def before_the_regions(full: Path, name: str) -> Path:
    """A run folder as `full` was before its region phase."""
    return copy_without(full, full.with_name(name), (*REGIONS, "stack"))


def hang(folder: Path, *jobs: str) -> None:
    """Plan a hang of these jobs in the middle of their second epoch, in their first attempt."""
    plan = [{"job": job, "rank": 0, "attempt": 1, "step": 6, "action": "hang"} for job in jobs]
    (folder / "faults.json").write_text(json.dumps(plan))


def wait_for_hang(folder: Path, *jobs: str) -> None:
    """Wait until each of these jobs hangs as planned."""
    fired = [folder / "jobs" / job / "faults.jsonl" for job in jobs]
    wait_until(lambda: all(path.exists() for path in fired), f"{', '.join(jobs)} in their second epoch", limit_s=240)


def test_the_shipped_commands_set_up_every_host(rack: Rack, full: Path) -> None:
    (mark,) = (rack.shared / ".regionstack").iterdir()
    assert mark.read_text() == "head\n", "written by the head, checked by the others"
    for host in HOSTS:
        home = rack.folder / host / "home"
        assert f"export REGIONSTACK_SHARED='{SHARED}'" in (home / ".regionstack.sh").read_text()
        assert (home / "regionstack" / "launch" / "train_all.py").is_file(), "the project was copied"
        token = home / ".ray" / "auth_token"
        assert token.read_text() == (rack.folder / DESK / "home" / ".ray" / "auth_token").read_text()
        assert token.stat().st_mode & 0o077 == 0


def test_the_literal_command_takes_the_configuration_of_the_shared_folder_and_says_so(full: Path) -> None:
    lines = (full.parents[1] / "output.txt").read_text().splitlines()
    taken = next(number for number, line in enumerate(lines) if f"{SHARED}/regionstack.yaml" in line)
    assert not [line for line in lines[:taken] if "job" in line or "pages" in line], "the first line of the program"
    assert "requesting" not in "".join(lines), "this cluster does not scale"


def test_worlds_span_hosts_and_regions_train_at_once_on_different_hosts(full: Path) -> None:
    assert events(full, "done").keys() == {"holistic_16", *REGIONS, "stack"}
    running, done = events(full, "running"), events(full, "done")
    assert running["holistic_16"]["group"] == {HEAD: 2, ONE: 2, TWO: 2}
    assert [worker["host"] for worker in running["holistic_16"]["workers"]] == [HEAD, HEAD, ONE, ONE, TWO, TWO]
    assert max(running[r]["time"] for r in REGIONS) < min(done[r]["time"] for r in REGIONS), "all at once"
    hosts = {region: set(running[region]["group"]) for region in REGIONS}
    assert set.union(*hosts.values()) == {HEAD, ONE}, "the four groups fill two hosts"
    assert {len(group) for group in hosts.values()} == {1}


def test_the_run_folder_has_logs_and_metrics_of_all_hosts(full: Path) -> None:
    for rank in range(6):
        assert (full / "jobs" / "holistic_16" / f"rank-{rank}.txt").is_file()
    for region in REGIONS:
        assert [row["epoch"] for row in read_lines(full / "jobs" / region / "metrics.jsonl")] == [1, 2]
    assert (full / "report.html").is_file()


def test_the_dashboard_listens_on_loopback_only_and_its_command_is_printed(rack: Rack, full: Path) -> None:
    assert "ray dashboard CLUSTER.yaml" in (full.parents[1] / "output.txt").read_text()
    ask = "import socket, sys; socket.create_connection((sys.argv[1], 8265), timeout=5)"
    assert rack.works(HEAD, ["python", "-c", ask, "127.0.0.1"])
    assert not rack.works(HEAD, ["python", "-c", ask, rack.address(HEAD)])
    assert not rack.works(DESK, ["python", "-c", ask, rack.address(HEAD)])


def test_nobody_joins_without_the_token(rack: Rack, full: Path) -> None:
    status = ["ray", "status", "--address", f"{rack.address(HEAD)}:6379"]
    assert "6.0 CPU" in rack.run(DESK, status, RAY_AUTH_MODE="token")
    stranger = rack.run(DESK, status, status=1, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="f" * 64)
    assert "6.0 CPU" not in stranger
    assert re.search("(?i)auth|token", stranger), stranger


def test_ray_job_submit(rack: Rack, full: Path) -> None:
    """Through the tunnel that `ray dashboard` opens from the desk, as documented."""
    begin = rack.on(DESK, ["env", "--chdir=project", "ray", "dashboard", "cluster.yaml"])
    ask = ["bash", "-c", "echo >/dev/tcp/127.0.0.1/8265"]
    job = ["python", "regionstack/launch/train_all.py", "--config", "/root/tiny.yaml"]
    settings = ["--set", "run.folder=runs/full"]
    with subprocess.Popen(begin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tunnel:
        try:
            wait_until(lambda: rack.works(DESK, ask), "the tunnel to the dashboard", limit_s=60)
            output = rack.run(
                DESK, ["ray", "job", "submit", "--", *job, *settings],
                RAY_AUTH_MODE="token", RAY_ADDRESS="http://localhost:8265",
            )  # fmt: skip
        finally:
            tunnel.terminate()
    assert f"{SHARED}/runs/full: all jobs are done" in output
    assert "succeeded" in output


def test_status_from_the_desk(rack: Rack, full: Path) -> None:
    status = "regionstack status runs/full"
    output = from_desk(rack, "ray", "exec", "cluster.yaml", status)
    for job in ("holistic_16", *REGIONS, "stack"):
        assert re.search(rf"{job}\b.*done", output), output


def test_a_plan_for_this_cluster_names_the_groups_of_the_run(rack: Rack, full: Path) -> None:
    plan = "regionstack plan --config tiny.yaml --cluster --json"
    output = from_desk(rack, "ray", "exec", "cluster.yaml", plan)
    planned, _ = json.JSONDecoder().raw_decode(output[output.index('{\n  "pages"') :])
    running = events(full, "running")
    groups = {job["name"]: job["group"] for job in planned["jobs"]}
    # The stack starts on the workers of a region that ended seconds ago; which one did, no plan knows.
    assert sum(groups.pop("stack").values()) == 1
    assert groups == {job: running[job]["group"] for job in running if job != "stack"}
    assert planned["total"]["seconds"] > 0


def sent() -> dict[str, Any]:
    """`tiny`, with pages, labels, shards and run that the cluster does not have."""
    config = tiny()
    config["data"] = {key: value.replace("pages", "scans") for key, value in config["data"].items()}
    config["cluster"]["environment"] = {PROGRESS_HOOK: "trainer.pace:inject"}
    return config | {"shards": config["shards"] | {"folder": "sent"}, "run": {"folder": "runs/sent"}}


def sends(rack: Rack, *more: str) -> list[str]:
    """`regionstack submit` on the desk, with the desk's copy of the project."""
    command = ["env", "--chdir=project", "PYTHONPATH=/root/project", "regionstack", "submit", "cluster.yaml"]
    return rack.on(DESK, [*command, "--config", "sent.yaml", *more])


def client_of(rack: Rack, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    """Start `regionstack submit` with its output in a file."""
    with output.open("wb") as file:
        return subprocess.Popen(sends(rack, *more), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)


def test_submit_survives_a_lost_connection_and_a_closed_laptop(rack: Rack, full: Path, tmp_path: Path) -> None:
    desk, folder = rack.folder / DESK / "home" / "project", rack.shared / "runs" / "sent"
    (desk / "sent.yaml").write_text(yaml.safe_dump(sent()))
    from_desk(rack, "env", "PYTHONPATH=/root/project", "regionstack", "draw", "--out", "scans",
              "--train=6", "--val=2", "--test=2")  # fmt: skip
    folder.mkdir()
    (folder / "hold").touch()
    (folder / "slow").touch()
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    with client_of(rack, first, "--pages", "scans") as client:
        wait_until(lambda: (folder / "reached").exists(), "the third step of a region", limit_s=240)
        rack.cut(DESK)
        wait_until(lambda: "connection is lost" in first.read_text(), "the client to miss its connection", limit_s=90)
        rack.reconnect(DESK)
        wait_until(lambda: "connected again" in first.read_text(), "the client to connect again", limit_s=90)
        client.kill()
    lines = first.read_text().splitlines()
    assert len([line for line in lines if "holistic_16" in line and "started" in line]) == 1, "no line twice"
    with client_of(rack, second) as client:
        wait_until(lambda: "this run is live" in second.read_text(), "the second client to follow", limit_s=60)
        stopped = subprocess.run(sends(rack, "--stop"), check=False, capture_output=True, text=True)
        assert stopped.returncode == 0, stopped.stdout
        (folder / "hold").unlink()
        assert client.wait(timeout=120) == STOPPED, second.read_text()
    (folder / "slow").unlink()
    ended = subprocess.run(sends(rack), check=False, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "own checkpoint of step" in (folder / "jobs" / "top" / "log.txt").read_text()
    assert figures(folder) == figures(full)
    assert (desk / "runs-sent.html").read_bytes() == (folder / "report.html").read_bytes()


def test_submit_returns_the_status_of_a_mistake_and_names_what_is_missing(rack: Rack, full: Path) -> None:
    """One that the cluster finds, after the job began; one found before anything is sent."""
    changed = sends(rack, "--set", "stages.holistic_16.epochs=9")
    ended = subprocess.run(changed, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "stages.holistic_16.epochs: 2 -> 9" in ended.stdout
    elsewhere = sends(rack, "--set", "data.root=gone", "--set", "shards.folder=gone")
    ended = subprocess.run(elsewhere, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "gone" in ended.stderr
    assert "--pages" in ended.stderr


def test_the_regions_finish_without_a_host_that_is_cut_off(rack: Rack, full: Path) -> None:
    folder = before_the_regions(full, "cut")
    hang(folder, "left", "right")
    command = rack.on(DESK, ["env", "--chdir=project", *submit("cut")])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        wait_for_hang(folder, "left", "right")
        rack.cut(ONE)
        output, _ = driver.communicate(timeout=280)
    rack.reconnect(ONE)
    assert driver.returncode == 0, output
    failed, running = events(folder, "retried"), events(folder, "running")
    assert failed.keys() == {"left", "right"}, "the fault hit those two jobs only"
    for job in failed:
        assert failed[job]["group"] == {ONE: 1}
        assert failed[job]["error"].startswith("rank 0 on one: the worker's host is gone")
    assert all(ONE not in running[job]["group"] and running[job]["attempt"] == 2 for job in failed)
    assert figures(folder) == figures(full), "the same weights"


def test_after_the_head_is_killed_the_same_commands_resume_the_run(rack: Rack, full: Path) -> None:
    folder = before_the_regions(full, "headless")
    hang(folder, "top", "left")
    command = rack.on(DESK, ["env", "--chdir=project", *submit("headless")])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        wait_for_hang(folder, "top", "left")
        assert events(folder, "running")["left"]["group"] == {ONE: 1}, "the reconnected host has joined again"
        rack.kill(HEAD)
        output, _ = driver.communicate(timeout=120)
    assert driver.returncode != 0, output
    assert figures(folder).keys().isdisjoint({"top", "left", "stack"}), "the run was killed before its end"
    rack.boot(HEAD)
    from_desk(rack, *UP)
    from_desk(rack, *submit("headless"))
    assert "own checkpoint of step" in (folder / "jobs" / "top" / "log.txt").read_text()
    assert figures(folder) == figures(full)


def test_ray_down_ends_the_head(rack: Rack, full: Path) -> None:
    assert all(runs_ray(rack, host) for host in HOSTS)
    from_desk(rack, "ray", "down", "--yes", "cluster.yaml")
    assert not runs_ray(rack, HEAD)


def test_the_figures_are_those_of_one_machine(rack: Rack, full: Path) -> None:
    """Six ranks on three hosts, and six ranks on one: the same weights, bit for bit."""
    settings = ["run.folder=runs/alone", "cluster.slots=6", "cluster.address=local", "stages.regions=null"]
    more = [part for setting in settings for part in ("--set", setting)]
    # The desk's copy of the project: the environment's own may lie where hosts do not see it.
    project = ["PYTHONPATH=/root/project", "regionstack", "train-all", "--config", "/root/project/tiny.yaml"]
    here = ["env", f"--chdir={SHARED}", *project]
    rack.run(DESK, [*here, *more])
    assert figures(full.with_name("alone"))["holistic_16"] == figures(full)["holistic_16"]
    assert figures(full)["holistic_16"][-1] == 6


def test_without_a_head_ray_ends_on_every_host(rack: Rack, full: Path) -> None:
    """Ray waits a minute for a silent head; most of it has passed in the previous test."""
    wait_until(lambda: not any(runs_ray(rack, host) for host in HOSTS), "Ray gone from every host", limit_s=180)


def runs_ray(rack: Rack, host: str) -> bool:
    """Whether a raylet runs on the host; a host sees only its own processes."""
    return rack.works(host, ["pgrep", "-x", "raylet"])
