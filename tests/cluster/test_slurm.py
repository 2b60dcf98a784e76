"""The shipped cluster/slurm.sh under a real Slurm on three hosts: run, stop and requeue, cancel, equal figures."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.rack import ROOT, SHARED, VENV, Rack, copy_project, install_tools
from tests.cluster.slurm_rack import CONF, install_slurm, start_slurm
from tests.cluster.test_three_hosts import figures, tiny
from tests.helpers.waiting import wait_until
from trainer.hook import PROGRESS_HOOK

LOGIN, NODES = "login", ("one", "two", "three")
STOPPED = 75
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """A login host and three nodes with Slurm, and the project on their shared storage; nothing of Ray runs."""
    install_tools()
    install_slurm()
    rack = Rack(tmp_path_factory.mktemp("slurm"), (LOGIN, *NODES))
    try:
        project = rack.shared / "project"
        copy_project(project, filled_in={})
        shutil.copy(ROOT / "tests" / "cluster" / "pace.py", project / "trainer")
        (project / "my.yaml").write_text(yaml.safe_dump(small(), sort_keys=False))
        start_slurm(rack, LOGIN, NODES)
        on_login(rack, "python", "-m", "launch.cli", "draw", "--out", "pages", "--train=6", "--val=2", "--test=2")
        yield rack
    finally:
        rack.close()


def small() -> dict[str, Any]:
    """One whole-page stage and two regions, one worker a host."""
    config = tiny()
    config["stages"]["holistic_16"]["epochs"] = 1
    config["stages"]["regions"] |= {"image_px": 16}
    config["regions"] = {"top": [0.0, 0.0, 1.0, 0.5], "bottom": [0.0, 0.5, 1.0, 1.0]}
    config["cluster"] = {"slots": 1, "environment": {PROGRESS_HOOK: "trainer.pace:inject"}}
    return config


def on_login(rack: Rack, *command: str, status: int = 0) -> str:
    """Run a command in the project's folder on the login host."""
    variables = CONF | {"VENV": str(VENV), "PYTHONPATH": f"{SHARED}/project"}
    return rack.run(LOGIN, ["env", f"--chdir={SHARED}/project", *command], status=status, **variables)


def batch(rack: Rack, run: str, *more: str, status: int = 0) -> str:
    """Submit a run as docs/slurm.md shows it; the output of sbatch."""
    settings = ["--config", "my.yaml", "--set", f"run.folder=runs/{run}"]
    return on_login(rack, "sbatch", "--parsable", *more, "--nodes=3", "cluster/slurm.sh", *settings, status=status)


def state(rack: Rack, job: str) -> str:
    """The job's state as Slurm has it."""
    (found,) = re.findall(r"JobState=(\w+)", on_login(rack, "scontrol", "show", "job", "-o", job))
    return str(found)


def log(rack: Rack, job: str) -> str:
    """What the job has printed."""
    return (rack.shared / "project" / f"regionstack-{job}.log").read_text()


@pytest.fixture(scope="module")
def full(slurm: Rack) -> Path:
    """Folder of an uninterrupted run; the number of its job is in `job.txt` in it."""
    job = batch(slurm, "full", "--wait").split()[0]
    folder = slurm.shared / "project" / "runs" / "full"
    (folder / "job.txt").write_text(job)
    return folder


def slow_run(rack: Rack, name: str) -> tuple[str, Path]:
    """Submit a slow run, and wait until a region trains; its job and its folder."""
    folder = rack.shared / "project" / "runs" / name
    folder.mkdir()
    (folder / "slow").touch()
    job = batch(rack, name).strip()
    wait_until(lambda: (folder / "reached").exists(), f"{name}: the third step of a region", limit_s=180)
    return job, folder


def test_one_command_trains_on_all_nodes(slurm: Rack, full: Path) -> None:
    assert figures(full).keys() == {"holistic_16", "top", "bottom", "stack"}
    assert figures(full)["holistic_16"][-1] == len(NODES), "one world over three hosts"
    assert (full / "report.html").is_file()
    running = [line for line in (full / "events.jsonl").read_text().splitlines() if '"running"' in line]
    assert all(f'"{node}"' in running[0] for node in NODES)


def test_nothing_is_left_on_the_nodes(slurm: Rack, full: Path) -> None:
    for node in NODES:
        wait_until(lambda node=node: not slurm.works(node, ["pgrep", "-x", "raylet|gcs_server"]), node, limit_s=30)


def test_a_job_at_its_limit_saves_is_requeued_and_ends_with_the_same_figures(slurm: Rack, full: Path) -> None:
    """Slurm's signal before the limit, sent by hand: `--signal=B:TERM@180`."""
    job, folder = slow_run(slurm, "requeued")
    on_login(slurm, "scancel", "--batch", "--signal=TERM", job)
    wait_until(lambda: "the job is requeued" in log(slurm, job), "the run to end in time", limit_s=180)
    assert "stopped and saved" in log(slurm, job), log(slurm, job)
    (folder / "slow").unlink()
    wait_until(lambda: state(slurm, job) in ("COMPLETED", "FAILED"), "the requeued job to end", limit_s=240)
    assert state(slurm, job) == "COMPLETED", log(slurm, job)
    assert "start 2: 3 nodes" in log(slurm, job)
    assert "own checkpoint of step" in (folder / "jobs" / "top" / "log.txt").read_text()
    assert figures(folder) == figures(full)


def test_a_job_can_be_stopped_and_submitted_again(slurm: Rack, full: Path) -> None:
    job, folder = slow_run(slurm, "stopped")
    on_login(slurm, "scancel", "--batch", "--signal=USR1", job)
    wait_until(lambda: state(slurm, job) == "FAILED", "the stopped job to end", limit_s=120)
    assert f"ExitCode={STOPPED}:0" in on_login(slurm, "scontrol", "show", "job", "-o", job), "it saved"
    (folder / "slow").unlink()
    batch(slurm, "stopped", "--wait")
    assert figures(folder) == figures(full)


def test_a_canceled_job_stays_canceled(slurm: Rack, full: Path) -> None:
    job, folder = slow_run(slurm, "canceled")
    on_login(slurm, "scancel", job)
    wait_until(lambda: not slurm.works("one", ["pgrep", "-f", "launch.train_all"]), "the driver to end", limit_s=60)
    wait_until(lambda: state(slurm, job) == "CANCELLED", "the job to be canceled", limit_s=60)
    assert "requeued" not in log(slurm, job)
    assert not (folder / "jobs" / "stack" / "result.json").exists()


def test_a_mistake_ends_the_job_with_its_status(slurm: Rack) -> None:
    output = on_login(slurm, "sbatch", "--wait", "--parsable", "cluster/slurm.sh", "--config", "gone.yaml", status=2)
    assert "error: --config gone.yaml" in log(slurm, output.split()[0])
