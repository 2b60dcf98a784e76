"""Actors on two hosts answer in order, survive the loss of one, and predict the same bytes as one process."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.helpers.commands import ROOT, environment, regionstack
from tests.helpers.untrained_run import make_run, make_shards

PAGES = 150


def test_two_hosts_answer_in_order_and_with_the_same_bytes(tmp_path: Path) -> None:
    make_run(make_shards(tmp_path))
    (tmp_path / "in").mkdir()
    for number in range(PAGES):
        Image.new("L", (40, 52), number).save(tmp_path / "in" / f"{number:03}.png")
    (tmp_path / "in" / "100.png").write_bytes(b"")
    regionstack("predict", str(tmp_path / "run"), str(tmp_path / "in"), "--csv", str(tmp_path / "here.csv"), "--all",
                status=3)  # fmt: skip
    program = [sys.executable, str(ROOT / "tests" / "cluster" / "actors_on_two_hosts.py"), str(tmp_path)]
    ended = subprocess.run(
        program, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=280
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert len(set(found["hosts"])) == 2
    assert found["squares"] == [number * number for number in range(30)]
    assert found["left"] == 1, "the other actor died"
    assert "no such square" in found["refused"]
    assert found["status"] == 3
    assert found["too_many_gpus"] == 2
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
