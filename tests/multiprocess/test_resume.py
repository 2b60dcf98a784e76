"""A job that faults interrupt anywhere ends as an uninterrupted one does; more workers resume the same batches."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.files import read_json, read_lines
from data_tools.shards.order import epoch_order
from data_tools.stop import STOPPED
from tests.helpers.commands import ROOT, environment, horovodrun
from tests.helpers.event_points import PACE, points_in
from tests.multiprocess.test_train import outcome

pytestmark = pytest.mark.timeout(1800)  # the first test waits for about thirty short trainings
STAGE = "holistic_16"
STEPS, EACH = 12, 4
"""Steps of the stage, and of one of its epochs: 96 pages in batches of 24."""


@dataclass(frozen=True)
class Harm:
    """One attempt's faults, its exit code, and words in its output or in that of the next attempt."""

    faults: Sequence[Mapping[str, Any]]
    code: int = -signal.SIGKILL
    words: str = ""

    def __str__(self) -> str:
        fault = self.faults[0]
        return f"{fault['action']}-{fault.get('phase', 'step')}-{fault['step']}"


def kill(step: int, phase: str = "training") -> Harm:
    return Harm([{"step": step, "phase": phase, "action": "kill"}])


RUNS: dict[str, list[Harm]] = {
    # After each step, in each evaluation, and in the predictions at the end.
    "killed": [
        *(harm for step in range(1, STEPS + 1)
          for harm in (kill(step), *([kill(step, "evaluating")] if step % EACH == 0 else []))),
        kill(STEPS, "predicting"),
    ],
    "stopped": [
        Harm([{"step": 4, "phase": "evaluating", "action": "term"}], STOPPED,
             "stopped while evaluating after step 4, saved"),
        Harm([{"step": 5, "action": "term"}], STOPPED, "stopped at step 5, saved; run the same command again"),
        Harm([{"step": 5, "phase": "starting", "action": "term"}], STOPPED,
             "stopped at step 5, before the first one of this attempt"),
        Harm([{"step": 7, "action": "raise"}], 1, "InjectedFault: planned fault at step 7"),
        Harm([{"step": 12, "phase": "predicting", "action": "term"}], STOPPED,
             "stopped while predicting after step 12, saved"),
    ],
    "damaged": [
        Harm([{"step": 5, "action": "fill-disk"}], 2, "earlier ones are untouched: make room"),
        Harm([{"step": 8, "action": "corrupt-newest-checkpoint"}, {"step": 8, "action": "kill"}],
             words="step-00000006 is corrupt (weights.safetensors: checksum differs); "
                   "renamed to damaged-step-00000006"),
        Harm([{"step": 12, "phase": "predicting", "action": "fill-disk"}], 2,
             "make room, then run the same command again"),
    ],
}  # fmt: skip
"""For each run, how its attempts end; one more attempt finishes it."""
HARMS = [(name, number) for name, harms in RUNS.items() for number in range(1, len(harms) + 1)]


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the runs of `RUNS`, each resumed after every fault, and `unharmed`."""
    folder = tmp_path_factory.mktemp("harmed")
    # The rate falls within the run, so a lost schedule would show.
    plateau = "{patience: 1, factor: 0.5, min_delta: 0.9}"
    more = ["--set", f"stages.{STAGE}.plateau={plateau}", "--set", "training.evaluation_batch=16"]
    program = "tests/multiprocess/programs/harmed_everywhere.py"
    plans = {name: [list(harm.faults) for harm in harms] for name, harms in RUNS.items()}
    ended = subprocess.run(
        [sys.executable, program, str(tiny), STAGE, str(folder), *more], cwd=ROOT, env=environment(), text=True,
        input=json.dumps(plans), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:]
    return folder


@pytest.mark.parametrize(("run", "number"), HARMS, ids=[f"{run}-{RUNS[run][n - 1]}" for run, n in HARMS])
def test_each_fault_fires_and_ends_its_attempt(runs: Path, run: str, number: int) -> None:
    harm = RUNS[run][number - 1]
    outputs = [(runs / f"{run}.{n}.txt").read_text() for n in (number, number + 1)]
    assert read_json(runs / "codes.json")[run][number - 1] == harm.code, outputs[0]
    fired = [line for line in read_lines(runs / run / "jobs" / STAGE / "faults.jsonl") if line["attempt"] == number]
    assert [(f["action"], f["step"], f["phase"]) for f in fired] == [
        (fault["action"], fault["step"], fault.get("phase", "training")) for fault in harm.faults
    ]
    assert harm.words in "".join(outputs)
    assert ("Traceback" in outputs[0]) == (harm.faults[0]["action"] == "raise"), outputs[0]


@pytest.mark.parametrize("run", RUNS)
def test_resumed_after_every_fault_is_never_interrupted(runs: Path, run: str) -> None:
    assert read_json(runs / "codes.json")[run][-1] == 0
    assert read_json(runs / run / "jobs" / STAGE / "result.json")["attempt"] == len(RUNS[run]) + 1
    assert outcome(runs / run, STAGE) == outcome(runs / "unharmed", STAGE)


@pytest.mark.parametrize("run", RUNS)
def test_tensorboard_shows_each_point_of_an_interrupted_run_once(runs: Path, run: str) -> None:
    harmed, unharmed = (points_in(runs / name / "jobs" / STAGE) for name in (run, "unharmed"))
    for points in (harmed, unharmed):
        assert [step for step, _ in points.scalars["training/loss"]] == list(range(1, STEPS + 1))
        assert [step for step, _ in points.scalars["epoch/val_accuracy"]] == [4, 8, 12]
        assert {tuple(steps) for steps in points.images.values()} == {(4, 8, 12)}
        assert [step for step, _ in points.scalars["test/accuracy"]] == [STEPS]
    assert {tag: values for tag, values in harmed.scalars.items() if tag not in PACE} == {
        tag: values for tag, values in unharmed.scalars.items() if tag not in PACE
    }


def test_the_uninterrupted_run_has_state_to_lose(runs: Path) -> None:
    history = read_lines(runs / "unharmed" / "jobs" / STAGE / "metrics.jsonl")
    assert len({row["learning_rate"] for row in history}) > 1
    assert len({row["weights_digest"] for row in history}) == STEPS // EACH


def test_another_number_of_workers_resumes_with_the_same_global_batches(tiny: Path, tmp_path: Path) -> None:
    """Two workers, killed after step 6; three resume from its checkpoint."""
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
    assert 0 < resumed_at <= 6, "it resumed from a checkpoint"
    for size, steps in ((2, range(6)), (3, range(resumed_at, STEPS))):
        for step in steps:
            parts = [line["positions"] for line in lines if (line["size"], line["step"]) == (size, step)]
            epoch, number = divmod(step, EACH)
            expected = epoch_order(96, 1, epoch)[number * 24 : (number + 1) * 24]
            np.testing.assert_array_equal(np.concatenate(parts), expected, err_msg=f"step {step}, {size} workers")
