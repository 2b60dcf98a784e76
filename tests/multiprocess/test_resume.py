"""Killed anywhere and gone on with is never killed; another number of workers sees the same global batches."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.files import read_json, read_lines
from data_tools.shards.order import epoch_order
from tests.helpers.commands import ROOT, environment, horovodrun
from tests.multiprocess.test_train import outcome
from trainer.stop import STOPPED

pytestmark = pytest.mark.timeout(1800)  # the first test waits for some fifty short trainings
STAGE = "holistic_16"
STEPS, EACH = 12, 4
"""Steps of the stage, and of one of its epochs: 96 pages in batches of 24."""
KILLS: list[dict[str, Any]] = [
    *({"step": step} for step in range(1, STEPS + 1)),
    *({"step": step, "phase": "evaluating"} for step in range(EACH, STEPS + 1, EACH)),
    {"step": STEPS, "phase": "predicting"},
]
HARMS: list[tuple[list[dict[str, Any]], int, str]] = [
    *(([{**place, "action": "kill"}], -signal.SIGKILL, "") for place in KILLS),
    ([{"step": 5, "action": "term"}], STOPPED, "stopped at step 5, saved; run the same command again"),
    ([{"step": 4, "phase": "evaluating", "action": "term"}], STOPPED, "stopped while evaluating after step 4, saved"),
    ([{"step": 12, "phase": "predicting", "action": "term"}], STOPPED, "stopped while predicting after step 12, saved"),
    ([{"step": 5, "action": "raise"}], 1, "InjectedFault: planned fault at step 5"),
    ([{"step": 5, "action": "fill-disk"}], 2, "earlier ones are untouched: make room"),
    ([{"step": 12, "phase": "predicting", "action": "fill-disk"}], 2, "make room, then run the same command again"),
    ([{"step": 8, "action": "corrupt-newest-checkpoint"}, {"step": 8, "action": "kill"}], -signal.SIGKILL,
     "step-00000006 is damaged (weights.safetensors: checksum differs); set aside as damaged-step-00000006"),
]  # fmt: skip
"""Fault plan, exit code of the attempt that it harms, and words in what the two attempts say."""


def named(number: int) -> str:
    fault = HARMS[number][0][0]
    return f"{fault['action']}-{fault.get('phase', 'step')}-{fault['step']}"


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one run for each of `HARMS`, harmed and gone on with, and `unharmed`."""
    folder = tmp_path_factory.mktemp("harmed")
    # The rate falls within the run, so that a forgotten schedule would show.
    plateau = "{patience: 1, factor: 0.5, min_delta: 0.9}"
    more = ["--set", f"stages.{STAGE}.plateau={plateau}", "--set", "training.evaluation_batch=16"]
    program = "tests/multiprocess/programs/harmed_everywhere.py"
    ended = subprocess.run(
        [sys.executable, program, str(tiny), STAGE, str(folder), *more], cwd=ROOT, env=environment(), text=True,
        input=json.dumps([faults for faults, _, _ in HARMS]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:]
    return folder


@pytest.mark.parametrize("number", range(len(HARMS)), ids=named)
def test_harmed_at_each_place_in_turn(runs: Path, number: int) -> None:
    (faults, code, words), job = HARMS[number], runs / str(number) / "jobs" / STAGE
    output = (runs / f"{number}.txt").read_text()
    assert read_json(runs / "codes.json")[1 + number] == [code, 0], output
    fired = read_lines(job / "faults.jsonl")
    assert [(f["action"], f["step"], f["phase"]) for f in fired] == [
        (fault["action"], fault["step"], fault.get("phase", "training")) for fault in faults
    ]
    assert words in output
    assert ("Traceback" in output) == (faults[0]["action"] == "raise"), output
    assert read_json(job / "result.json")["attempt"] == 2
    assert outcome(runs / str(number), STAGE) == outcome(runs / "unharmed", STAGE)


def test_the_unharmed_run_has_something_to_forget(runs: Path) -> None:
    history = read_lines(runs / "unharmed" / "jobs" / STAGE / "metrics.jsonl")
    assert len({row["learning_rate"] for row in history}) > 1
    assert len({row["weights_digest"] for row in history}) == STEPS // EACH


def test_another_number_of_workers_goes_on_with_the_same_global_batches(tiny: Path, tmp_path: Path) -> None:
    """Two workers, killed after step 6; three go on from step 6's checkpoint."""
    run, record = tmp_path / "run", tmp_path / "batches"
    run.mkdir()
    (run / "faults.json").write_text(json.dumps([{"job": STAGE, "step": 6, "rank": 1, "action": "kill"}]))
    command = ["tests/multiprocess/programs/recorded_batches.py", "--config", str(tiny), "--stage", STAGE, "--set",
               f"run.folder={run}"]  # fmt: skip
    env = {"RECORDED_BATCHES": str(record)}
    horovodrun(2, *command, env=env, status=None)
    assert len(read_lines(run / "jobs" / STAGE / "faults.jsonl")) == 1
    horovodrun(3, *command, env=env)
    result = read_json(run / "jobs" / STAGE / "result.json")
    assert (result["world_size"], result["attempt"]) == (3, 2)
    lines = [line for rank in range(3) for line in read_lines(record / f"rank-{rank}.jsonl")]
    resumed_at = min(line["step"] for line in lines if line["size"] == 3)
    assert 0 < resumed_at <= 6, "it went on from a checkpoint"
    for size, steps in ((2, range(6)), (3, range(resumed_at, STEPS))):
        for step in steps:
            parts = [line["positions"] for line in lines if (line["size"], line["step"]) == (size, step)]
            epoch, number = divmod(step, EACH)
            expected = epoch_order(96, 1, epoch)[number * 24 : (number + 1) * 24]
            np.testing.assert_array_equal(np.concatenate(parts), expected, err_msg=f"step {step}, {size} workers")
