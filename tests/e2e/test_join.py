"""What `ray submit` does on the head node: a copy of train_all.py joins the running cluster."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.files import read_json, read_lines
from tests.helpers.commands import ROOT, environment, run
from tests.helpers.ports import free_ports


@pytest.fixture
def head_node(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A head node with three CPUs; the environment variables (address and token) to join it with."""
    key = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    ours = environment() | key
    ray = str(Path(sys.executable).parent / "ray")
    port, client_port = free_ports(2)
    address = f"127.0.0.1:{port}"
    command = [ray, "start", "--head", "--block", f"--port={port}", f"--ray-client-server-port={client_port}",
               "--num-cpus=3", "--num-gpus=0", "--include-dashboard=false", "--disable-usage-stats"]  # fmt: skip
    log = tmp_path / "head.log"
    with log.open("wb") as output, subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, env=ours, start_new_session=True
    ) as head:  # fmt: skip
        try:
            for _ in range(60):
                status = subprocess.run([ray, "status", f"--address={address}"], env=ours, check=False,
                                        capture_output=True, text=True, timeout=60)  # fmt: skip
                if "3.0 CPU" in status.stdout:
                    break
            else:
                raise AssertionError(
                    f"the head node did not come up: {log.read_text()}\n{status.stdout}{status.stderr}"
                )
            yield {"RAY_ADDRESS": address, **key}
        finally:
            os.killpg(head.pid, signal.SIGTERM)
            head.wait(timeout=60)


def test_the_copied_file_joins_the_running_cluster(tiny: Path, tmp_path: Path, head_node: dict[str, str]) -> None:
    copy = tmp_path / "home" / "train_all.py"
    copy.parent.mkdir()
    shutil.copy(ROOT / "launch" / "train_all.py", copy)
    folder = tmp_path / "run"
    settings = [f"run.folder={folder}", "stages.holistic_32px=null", "stages.regions=null", "cluster.slots=null"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, str(copy), "--config", str(tiny), *arguments]
    output = run(command, env={**head_node, "RAY_AUTH_TOKEN": secrets.token_hex(32)}, status=2)
    assert "error: cluster.address" in output, "without the cluster's token it is refused in one line"
    assert "Traceback" not in output
    output = run(command, env=head_node)
    assert "stack: done" in output
    assert read_json(folder / "jobs" / "holistic_16" / "result.json")["world_size"] == 3, (
        "one worker a CPU of the cluster"
    )
    hosts = {
        tuple(event["group"].items()) for event in read_lines(folder / "events.jsonl") if event["event"] == "started"
    }
    assert len(hosts) == 2, "three slots for the model, one for the stack"
