"""One driver at a time: leases that are held, given back, left behind, taken over."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.liveness import fence, process
from cluster.liveness.fence import Fence
from cluster.liveness.lease import LEASE, Holder, Lease, check_free, hold, judge, read_holder
from cluster.liveness.process import Identity, own_identity
from data_tools.errors import UserError
from data_tools.files import write_json

ROOT = Path(__file__).parents[4]
HERE = Identity("a", "boot-1 pid:[1]", 12, 345)
REBOOTED = replace(HERE, machine="boot-2 pid:[1]")
CONTAINER = replace(HERE, machine="boot-1 pid:[2]")

# holder, is its process alive -> what `HERE` may do
TABLE = [
    (None, False, "free"),
    (HERE, True, "held"),
    (HERE, False, "free"),
    (REBOOTED, False, "watch"),  # another boot, or another host: its numbers mean nothing here
    (CONTAINER, True, "watch"),
]


@pytest.mark.parametrize(("owner", "alive", "verdict"), TABLE)
def test_judge(owner: Identity | None, alive: bool, verdict: str) -> None:
    holder = Holder("t", owner, 0.0) if owner else None
    assert judge(holder, HERE, alive=alive) == verdict


def test_one_holder_at_a_time_and_released_at_the_end(tmp_path: Path) -> None:
    with hold(tmp_path) as lease:
        assert read_holder(tmp_path).owner == own_identity()
        with pytest.raises(UserError, match=rf"process {os.getpid()} on .* is driving this run; wait"), hold(tmp_path):
            pass
        lease.check()
    assert not (tmp_path / LEASE).exists()
    with hold(tmp_path) as lease:
        assert lease.previous is None


@contextlib.contextmanager
def holder_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease and waits."""
    code = (
        "import sys; from pathlib import Path; from cluster.liveness.lease import hold\n"
        "with hold(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def test_the_lease_of_a_killed_driver_is_free(tmp_path: Path) -> None:
    with holder_process(tmp_path) as other:
        with pytest.raises(UserError, match=f"process {other.pid} on"), hold(tmp_path):
            pass
        other.kill()
        other.wait()
        with hold(tmp_path) as lease:
            assert lease.previous.owner.pid == other.pid


def test_a_stopped_driver_still_holds_the_lease_and_is_named(tmp_path: Path) -> None:
    with holder_process(tmp_path) as other:
        other.send_signal(signal.SIGSTOP)
        os.waitpid(other.pid, os.WUNTRACED)
        with pytest.raises(UserError, match="kill -CONT"), hold(tmp_path):
            pass


def foreign(folder: Path) -> Holder:
    """A lease that another machine holds."""
    holder = Holder("theirs", Identity("node9", "another boot", 1, 1), 0.0)
    write_json(folder / LEASE, {"token": holder.token, "owner": vars(holder.owner), "taken": 0.0})
    return holder


def test_a_stale_lease_of_another_host_is_taken_over(tmp_path: Path) -> None:
    theirs, said = foreign(tmp_path), list[str]()
    with hold(tmp_path, stale_s=0.3, warn=said.append) as lease:
        assert lease.previous == theirs
    assert "process 1 on node9 was driving this run" in said[0]


def test_a_renewed_lease_of_another_host_is_held(tmp_path: Path) -> None:
    foreign(tmp_path)

    def renew(line: str) -> None:
        """While the newcomer waits, the owner shows that it lives."""
        os.utime(tmp_path / LEASE, (5.0, 5.0))

    timer = threading.Timer(0.2, renew, [""])
    timer.start()
    with pytest.raises(UserError, match="process 1 on node9 is driving this run"), hold(tmp_path, stale_s=50.0):
        pass
    timer.join()
    assert read_holder(tmp_path).token == "theirs"


def test_a_command_without_a_lease_refuses_a_driven_run(tmp_path: Path) -> None:
    check_free(tmp_path)
    with hold(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()} on .* is driving this run"):
        check_free(tmp_path)
    check_free(tmp_path)
    foreign(tmp_path)
    with pytest.raises(UserError, match="process 1 on node9 is driving this run"):
        check_free(tmp_path)
    os.utime(tmp_path / LEASE, (5.0, 5.0))
    check_free(tmp_path)


def test_a_driver_notices_that_it_lost_its_lease_and_keeps_the_file(tmp_path: Path) -> None:
    with hold(tmp_path) as lease:
        foreign(tmp_path)
        with pytest.raises(UserError, match="process 1 on node9"):
            lease.check()
        assert lease.fence.superseded()
    assert read_holder(tmp_path).token == "theirs", "it is not ours to give back"


def test_renewing_never_restores_an_old_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.liveness.lease.RENEW_S", 0.01)
    with hold(tmp_path):
        before = (tmp_path / LEASE).stat().st_mtime_ns
        wait_until(lambda: (tmp_path / LEASE).stat().st_mtime_ns > before)
        foreign(tmp_path)
        content = (tmp_path / LEASE).read_text()
        threading.Event().wait(0.1)
        assert (tmp_path / LEASE).read_text() == content


def test_a_corrupt_lease_is_free(tmp_path: Path) -> None:
    (tmp_path / LEASE).write_text('{"token": "x"')
    with hold(tmp_path) as lease:
        assert lease.previous is None


@pytest.mark.parametrize(
    ("content", "broken"),
    [('{"token": "mine"}', False), ('{"token": "theirs"}', True), ("", False), ("{}", False), (None, False)],
)
def test_only_another_token_supersedes(tmp_path: Path, content: str | None, broken: bool) -> None:
    if content is not None:
        (tmp_path / "f.json").write_text(content)
    assert Fence(str(tmp_path / "f.json"), "mine").superseded() == broken


def test_a_superseded_worker_exits(tmp_path: Path) -> None:
    path = tmp_path / "attempt.json"
    write_json(path, {"token": "first"})
    code = (
        "import sys, threading; from cluster.liveness import fence\n"
        "fence.FenceWatch().follow([fence.Fence(sys.argv[1], 'first')], every_s=0.02)\n"
        "print('up', flush=True); threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as worker:  # fmt: skip
        assert worker.stdout.readline() == "up\n"
        write_json(path, {"token": "second"})
        _, errors = worker.communicate(timeout=50)
    assert worker.returncode == fence.SUPERSEDED
    assert str(path) in errors


def test_a_reused_pid_is_another_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        ticks = process.ticks_of(other.pid)
        assert process.is_alive(other.pid, ticks)
        assert process.end([(other.pid, ticks + 1)], 1.0) == [], "another process that came to its number is left alone"
        assert process.is_alive(other.pid, ticks)
        assert process.end([(other.pid, ticks)], 20.0) == [], "a zombie counts as gone"
    assert not process.is_alive(other.pid, ticks)
    assert process.ticks_of(2**22 + 1) is None


def wait_until(holds: Callable[[], bool], limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < until
        threading.Event().wait(0.01)


def test_the_lease_names_its_owner_in_plain_json(tmp_path: Path) -> None:
    with hold(tmp_path) as lease:
        assert isinstance(lease, Lease)
        found = json.loads((tmp_path / LEASE).read_text())
        assert set(found) == {"token", "owner", "taken"}
        assert found["owner"]["pid"] == os.getpid()
