"""The doctor on a real Ray: a head node with a token, and a second node with every fault that the doctor knows.

The second raylet lives in its own namespaces: a host name without an address, the run folder mounted
read-only, the shards folder hidden, package metadata of another TensorFlow, few open files, a GPU that is none.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.ports import free_ports
from tests.helpers.tiny import make_tiny_data
from tests.helpers.waiting import wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NAME = "nowhere-b"
STARTED = "Ray runtime started"
SECOND = f"""
set -e
hostname {NAME}
mount --bind "$RUN" "$RUN" && mount -o remount,bind,ro "$RUN"
mount -t tmpfs none "$SHARDS"
ulimit -n 2048
exec "$0" "$@"
"""


@dataclass
class Machines:
    """A Ray of two hosts, the second of which has faults."""

    environment: dict[str, str]
    run: Path
    shards: Path
    settings: list[str]
    second: int | None = None

    def call(self, *arguments: str, **more: str) -> tuple[int, str]:
        """Exit status and output of a regionstack command, which must end without a traceback."""
        done = subprocess.run(
            [BIN / "regionstack", *arguments], env=self.environment | more, capture_output=True, text=True, timeout=240,
            cwd=self.run.parent, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    def doctor(self, *arguments: str, **more: str) -> tuple[int, list[str], dict[str, Any]]:
        """Exit status, one line for each finding, and the complete JSON."""
        status, output = self.call("doctor", "--cluster", *self.settings, "--json", *arguments, **more)
        # Ray itself writes to stderr, too.
        value, _ = json.JSONDecoder().raw_decode(output[output.index('{\n  "findings"') :])
        lines = []
        for finding in value["findings"]:
            lines.append(f"{finding['level']} {finding['where']}: {finding['what']}; {finding['advice']}")
        return status, lines, value


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(
        command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            # A raylet that is asked to stop drains for half a minute.
            for pid in [*descendants(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("doctor")
    tiny = make_tiny_data(folder)
    # Ray's sockets lie in its folder, and their paths must be short.
    session = Path(tempfile.mkdtemp(prefix="doctor-"))
    environment = os.environ | {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "PYTHONPATH": str(ROOT),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }  # fmt: skip
    ray = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
    first = [*ray, "--head", "--port=0", f"--ray-client-server-port={free_ports(1)[0]}",
             "--include-dashboard=false", f"--temp-dir={session}", "--num-gpus=0"]  # fmt: skip
    log, place = folder / "head.log", session / "ray_current_cluster"
    with started(first, environment, log):
        wait_until(lambda: STARTED in log.read_text() and place.is_file(), "ray start", limit_s=120)
        address = place.read_text().strip()
        run = folder / "run"
        run.mkdir()
        settings = ["--config", str(tiny), "--set", f"run.folder={run}", "--set", "cluster.start_timeout_s=60"]
        yield Machines(environment | {"RAY_ADDRESS": address}, run, tiny.parent / "shards", settings)
    shutil.rmtree(session, ignore_errors=True)


@pytest.fixture(scope="module")
def alone(head: Machines) -> tuple[int, list[str], dict[str, Any]]:
    """The doctor's report on the head node alone, before the faulty one joins."""
    return head.doctor()


@pytest.fixture(scope="module")
def machines(head: Machines, alone: tuple[int, list[str], dict[str, Any]], tmp_path_factory: Any) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("second")
    other = folder / "tensorflow-2.20.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.20.0\n")
    environment = head.environment | {
        "PYTHONPATH": f"{folder}:{ROOT}", "RUN": str(head.run), "SHARDS": str(head.shards)
    }  # fmt: skip
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    spaces = ["unshare", *own_user, "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    ray = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", "--num-cpus=1", "--num-gpus=1"]
    address = head.environment["RAY_ADDRESS"]
    log = folder / "second.log"
    with started([*spaces, "sh", "-c", SECOND, *ray, f"--address={address}"], environment, log) as second:
        wait_until(lambda: STARTED in log.read_text(), "ray start", limit_s=120)
        yield replace(head, second=second.pid)


def test_one_healthy_host_is_ready(alone: tuple[int, list[str], dict[str, Any]]) -> None:
    status, lines, value = alone
    assert status == 0, lines
    assert [line for line in lines if line.startswith("error")] == []
    assert value["hosts"][0]["built"], "Horovod was loaded"
    assert value["hosts"][0]["authenticated"]


def test_each_fault_of_a_host_has_its_line(machines: Machines) -> None:
    status, lines, value = machines.doctor("--quick")
    assert [host["hostname"] for host in value["hosts"]][1] == NAME, lines
    assert status == 1
    address = value["hosts"][1]["address"]
    first = value["hosts"][0]["host"]
    for line in [
        f"error {NAME}: TensorFlow 2.20.0, but {first} has 2.21.0",
        f"error {NAME}: Horovod is built for TensorFlow 2.21.0, but TensorFlow 2.20.0 is installed",
        f"error {NAME}: Ray offers 1 GPU",
        f"error {NAME}: its own name, {NAME}, does not resolve, and Horovod needs that; add it to /etc/hosts "
        f"there ({address} {NAME})",
        f"error {NAME}: run.folder {machines.run} cannot be written (Read-only file system)",
        f"error {NAME}: shards.folder {machines.shards} cannot be read (No such file or directory)",
        f"warning {NAME}: a process may open 2048 files",
        f"warning {first}: the name {NAME} does not resolve there",
    ]:
        assert [found for found in lines if found.startswith(line)], f"{line}\nnot in\n" + "\n".join(lines)
    assert list(machines.run.iterdir()) == [], "nothing is left behind"
    assert not [path for path in machines.shards.iterdir() if path.name.startswith(".doctor")]


def test_a_run_stops_early_with_the_same_lines(machines: Machines) -> None:
    status, output = machines.call("train-all", *machines.settings)
    assert status == 2, output
    said = output[output.index("error: the hosts are not ready:") :].splitlines()
    assert f"  {NAME}: run.folder {machines.run} cannot be written (Read-only file system)" in output
    assert all(line.startswith(f"  {NAME}: ") for line in said[1:-1]), output
    assert said[-1] == "check again with regionstack doctor --cluster"
    assert not (machines.run / "events.jsonl").exists(), "no job was started"


def test_missing_hosts(machines: Machines, tmp_path: Path) -> None:
    launcher = tmp_path / "cluster.yaml"
    launcher.write_text(f"provider: {{type: local, head_ip: {NAME}, worker_ips: [203.0.113.9, nowhere.invalid]}}\n")
    status, lines, _ = machines.doctor("--quick", "--launcher", str(launcher))
    assert status == 1
    found = {line.partition(": ")[0]: line for line in lines}
    assert "SSH" in found["error 203.0.113.9"], "whether the host answers at all"
    assert "resolve" in found["error nowhere.invalid"], "the name is unknown"


def test_a_wrong_token_is_one_line(machines: Machines) -> None:
    status, lines, _ = machines.doctor(RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert (status, len(lines)) == (1, 1), lines
    assert "cluster.address: " in lines[0]
    assert "token" in lines[0]
    assert "RAY_AUTH_TOKEN" in lines[0]


def test_an_unreachable_cluster_is_one_line(machines: Machines) -> None:
    status, lines, _ = machines.doctor(RAY_ADDRESS="127.0.0.1:1")
    assert (status, len(lines)) == (1, 1), lines
    assert "127.0.0.1:1: nothing answers there; is the cluster up" in lines[0]


def test_a_host_that_no_longer_answers(machines: Machines) -> None:
    """The last test, since the stopped host stays stopped. Ray declares it dead after half a minute."""
    assert machines.second is not None
    stopped = [pid for pid in descendants(machines.second) if "raylet" in Path(f"/proc/{pid}/comm").read_text()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        status, output = machines.call("train-all", *machines.settings, "--set", "cluster.start_timeout_s=5")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert stopped
    assert status == 2
    assert f"  {NAME}: Ray lists this host as alive, and it does not answer (no answer in 5 s)" in output, output


def descendants(pid: int) -> list[int]:
    """All processes below `pid`."""
    below = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return below + [deeper for child in below for deeper in descendants(child)]
