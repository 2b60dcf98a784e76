"""Planned faults: each action has its effect, at the planned point only, and is recorded first."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_lines
from tests.helpers.faults import FIRED, HOOK, PLAN_FILE, InjectedFault, inject, planned_faults
from trainer.hook import Progress
from trainer.job_folder.checkpoint import WEIGHTS, CheckpointFolder, Snapshot

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
from trainer.hook import Progress, on_progress
run = Path(sys.argv[1])
begin = Progress(run=run, folder=run, job="job", attempt=1, rank=0, wait_for_checkpoint=lambda: None)
on_progress(begin)("training", 1, 0)
print("alive", flush=True)
try:
    Path(sys.argv[1], "more").write_text("something")
except OSError as error:
    print(type(error).__name__, error.errno)
"""


def plan(run: Path, *faults: dict[str, Any]) -> None:
    (run / PLAN_FILE).write_text(json.dumps([{"job": "job", "step": 1, **fault} for fault in faults]))


def injector(run: Path, place: tuple[str, int, int] = ("job", 1, 0)) -> Callable[[str, int, int], None]:
    """What `inject` does at (phase, step, batch) in this job, attempt and rank."""

    def at(phase: str, step: int, batch: int) -> None:
        job, attempt, rank = place
        inject(
            Progress(
                run=run, folder=run, job=job, attempt=attempt, rank=rank, wait_for_checkpoint=lambda: None,
                phase=phase, step=step, batch=batch,
            )
        )  # fmt: skip

    return at


def started(run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(run)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        env={**os.environ, **HOOK},
    )  # fmt: skip


def wait_for_record(run: Path) -> list[dict[str, Any]]:
    end = time.monotonic() + 30
    while not read_lines(run / FIRED):
        assert time.monotonic() < end, "the fault is not recorded"
        time.sleep(0.01)
    return read_lines(run / FIRED)


def test_without_a_plan_nothing_happens(tmp_path: Path) -> None:
    assert planned_faults(tmp_path) == ()
    injector(tmp_path)("training", 1, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("action", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM)])
def test_signals_that_end_a_process(tmp_path: Path, action: str, number: int) -> None:
    plan(tmp_path, {"action": action})
    with started(tmp_path) as process:
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (-number, "")
    assert [fault["action"] for fault in read_lines(tmp_path / FIRED)] == [action]


@pytest.mark.parametrize(("action", "state"), [("stop", "T"), ("hang", "S")])
def test_actions_that_stop_a_process_without_ending_it(tmp_path: Path, action: str, state: str) -> None:
    plan(tmp_path, {"action": action})
    with started(tmp_path) as process:
        try:
            assert wait_for_record(tmp_path)[0]["action"] == action
            end = time.monotonic() + 30
            while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            process.kill()
        assert process.communicate()[0] == "", "it does not continue after the fault"


def test_an_exception(tmp_path: Path) -> None:
    plan(tmp_path, {"action": "raise"})
    with pytest.raises(InjectedFault, match="step 1"):
        injector(tmp_path)("training", 1, 0)
    assert len(read_lines(tmp_path / FIRED)) == 1


def test_a_full_disk(tmp_path: Path) -> None:
    plan(tmp_path, {"action": "fill-disk"})
    with started(tmp_path) as process:
        output, _ = process.communicate(timeout=60)
    assert output.splitlines() == ["alive", "OSError 27"], "it continues, and every write fails"
    assert [fault["action"] for fault in read_lines(tmp_path / FIRED)] == ["fill-disk"]


def test_a_corrupt_newest_checkpoint(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=3)
    plan(tmp_path, {"action": "corrupt-newest-checkpoint"})
    injector(tmp_path)("training", 1, 0)
    assert read_lines(tmp_path / FIRED)[0]["checkpoint"] is None, "there is none yet"
    for step in (3, 6):
        folder.write(Snapshot(step, {"kernel": np.ones(99, np.float32)}, {}, {}), best=None)
    injector(tmp_path)("training", 1, 0)
    assert read_lines(tmp_path / FIRED)[1]["checkpoint"] == "step-00000006"
    assert folder.problem(6) == f"{WEIGHTS}: checksum differs"
    assert folder.problem(3) is None


@pytest.mark.parametrize(
    ("place", "at", "fires"),
    [
        (("job", 2, 1), ("training", 7, 0), True),
        (("job", 2, 1), ("training", 6, 0), False),
        (("job", 1, 1), ("training", 7, 0), False),  # another attempt
        (("job", 2, 0), ("training", 7, 0), False),  # another rank
        (("other", 2, 1), ("training", 7, 0), False),
        (("job", 2, 1), ("evaluating", 7, 1), False),  # another phase
        (("job", 2, 1), ("evaluating", 8, 3), True),
        (("job", 2, 1), ("evaluating", 8, 2), False),
    ],
)
def test_where_it_fires(tmp_path: Path, place: Any, at: Any, fires: bool) -> None:
    here = {"attempt": 2, "rank": 1, "action": "raise"}
    plan(tmp_path, {**here, "step": 7}, {**here, "step": 8, "phase": "evaluating", "batch": 3})
    fault = injector(tmp_path, place)
    if fires:
        with pytest.raises(InjectedFault):
            fault(*at)
    else:
        fault(*at)
    assert bool(read_lines(tmp_path / FIRED)) == fires


def test_a_plan_with_an_invalid_fault_is_rejected(tmp_path: Path) -> None:
    plan(tmp_path, {"action": "explode"})
    with pytest.raises(UserError, match=r"faults\.json.*action"):
        planned_faults(tmp_path)


def test_a_plan_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "plan.json"
    elsewhere.write_text(json.dumps([{"job": "job", "step": 3, "action": "kill"}]))
    monkeypatch.setenv("REGIONSTACK_FAULTS", str(elsewhere))
    assert [fault.step for fault in planned_faults(tmp_path)] == [3]
    assert os.environ["REGIONSTACK_FAULTS"] == str(elsewhere)
