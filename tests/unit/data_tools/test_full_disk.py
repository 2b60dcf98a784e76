"""A full or read-only file system: one line, saved files stay intact, and writing resumes once there is room."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]

PROGRAM = """
import subprocess, sys
from pathlib import Path
import numpy as np
from data_tools.errors import UserError, storage_problem
from data_tools.files import write_json
from trainer.job_folder.checkpoint import CheckpointFolder, Snapshot

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=True)

def write(step):
    snapshot = Snapshot(step, {"kernel": np.full(60_000, step, np.float32)}, {}, {})
    try:
        folder.write(snapshot, best=None)
    except UserError as error:
        print(error)
    found = folder.newest()
    print(sorted(path.name for path in folder.folder.iterdir()), found.step)

folder = CheckpointFolder(disk / "checkpoints", keep=9)
for step in range(1, 6):
    write(step)
try:
    (disk / "rest").write_bytes(b"x" * 2**20)
except OSError:
    pass
try:
    write_json(disk / "result.json", {"a": "b" * 9000})
except OSError as error:
    print(storage_problem(error))
subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
write(5)
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
write(6)
"""


def test_a_small_disk(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount of one's own here")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*NAMESPACE, sys.executable, "-c", PROGRAM, str(disk)]
    ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    names = [f"step-0000000{step}" for step in range(1, 7)]
    assert lines[:4] == [f"{['newest.json', *names[:step]]} {step}" for step in (1, 2, 3, 4)], "so many fit"
    assert "step-00000005: the checkpoint could not be written" in lines[4]
    assert "No space left on device" in lines[4]
    assert "earlier ones are untouched: make room" in lines[4]
    assert lines[5] == f"{['newest.json', *names[:4]]} 4"
    assert lines[6] == (
        f"{disk}/result.json: no space left on device; what is saved is untouched: make room, then run the same "
        "command again"
    )
    assert lines[7] == f"{['newest.json', *names[:5]]} 5", "there is room again"
    assert "step-00000006: the checkpoint could not be written" in lines[8]
    assert "Read-only file system" in lines[8]
    assert lines[9] == f"{['newest.json', *names[:5]]} 5"
    assert len(lines) == 10
