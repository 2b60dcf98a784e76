"""What `prepare` sets in a process, for one job and then for another one."""

import json
import os
import subprocess
import sys
from pathlib import Path

from data_tools.files import PROJECT_ROOT, write_json
from tests.helpers.waiting import wait_until

TWO_JOBS = """
import json, os, sys
from cluster.liveness import worker

def job(logs, fence, bindings, line):
    order = {"target": "json:dumps", "alone": False, "environment": {"MINE": line}, "interface": "lo",
             "addresses": ["127.0.0.1"], "bindings": bindings, "logs": logs,
             "fences": [{"path": fence, "token": "mine"}]}
    report = worker.prepare(order)
    assert "failure" not in report, report
    print(line, flush=True)
    return {"cores": sorted(os.sched_getaffinity(0)), "path": os.environ["PYTHONPATH"], "mine": os.environ["MINE"]}

folder = sys.argv[1]
jobs = [job(f"{folder}/one", f"{folder}/one.json", [(0, 2)], "first"),
        job(f"{folder}/two", f"{folder}/two.json", [(0, 2)], "second"),
        job(None, f"{folder}/three.json", [(0, 2)], "third")]
print(json.dumps(jobs), flush=True)
sys.stdin.read()
"""


def test_a_second_job_in_a_process_has_its_own_output_fences_and_the_same_cores(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write_json(tmp_path / f"{name}.json", {"token": "mine"})
    environment = {**os.environ, "HOROVOD_RANK": "0", "HOROVOD_HOSTNAME": "node", "PYTHONPATH": str(PROJECT_ROOT)}
    command = [sys.executable, "-c", TWO_JOBS, str(tmp_path)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "third\n", "without a folder, the output is where it was at first"
        first, second, third = json.loads(process.stdout.readline())
        assert (first["mine"], third["mine"]) == ("first", "third")
        assert first["cores"] == second["cores"] == third["cores"]
        assert first["path"] == third["path"]
        write_json(tmp_path / "one.json", {"token": "theirs"})
        write_json(tmp_path / "three.json", {"token": "theirs"})
        wait_until(lambda: process.poll() is not None, "the fence of the last job")
    assert (tmp_path / "one" / "rank-0.txt").read_text() == "first\n"
    assert (tmp_path / "two" / "rank-0.txt").read_text() == "second\n"


def test_a_fence_of_an_earlier_job_is_not_looked_at_any_more(tmp_path: Path) -> None:
    code = (
        "import sys; from cluster.liveness.fence import Fence, FenceWatch\n"
        "watch = FenceWatch()\n"
        "watch.follow([Fence(sys.argv[1], 'old')], every_s=0.01)\n"
        "watch.follow([Fence(sys.argv[2], 'new')], every_s=0.01)\n"
        "print('up', flush=True); sys.stdin.readline(); sys.exit(5)"
    )
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    write_json(new, {"token": "new"})
    with subprocess.Popen([sys.executable, "-c", code, str(old), str(new)], cwd=PROJECT_ROOT, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        write_json(old, {"token": "another"})
        try:
            process.wait(0.3)
        except subprocess.TimeoutExpired:
            process.communicate("end\n")
    assert process.returncode == 5
