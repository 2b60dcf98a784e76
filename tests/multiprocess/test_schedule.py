"""Schedules in real training: the rate of each epoch, and a state that survives an interruption."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_tools.files import read_lines
from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from tests.helpers.faults import HOOK, PLAN, InjectedFault
from trainer.config import CheckpointConfig
from trainer.job import run

JOB = "holistic_16"
Stage = dict[str, Any]
PLATEAU: Stage = {"epochs": 4, "plateau": {"patience": 1, "factor": 0.5, "min_delta": 1.0}}
PLATEAU_RATES = [0.002, 0.002, 0.001, 0.0005]
"""Rates of four epochs, of which only the first counts as an improvement: halved after each of the others."""
COSINE: Stage = {
    "image_px": 24,  # of 32: by area
    "epochs": 4,
    "head_epochs": 1,
    "schedule": "cosine",
    "final_share": 0.1,
    "optimizer": {
        "name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05, "layer_decay": 0.7, "warmup_epochs": 0.5,
        "ema_decay": 0.9,
    },
}  # fmt: skip


def train(tiny: Path, folder: Path, stage: Stage) -> list[tuple[float, str]]:
    """Learning rate and weights' digest of each epoch."""
    config = load_config(str(tiny), [f"stages.{JOB}.{key}={json.dumps(value)}" for key, value in stage.items()])
    job = replace(plan_recipe(config).of_stage(JOB, None), checkpoint=CheckpointConfig(every_steps=1, agree_steps=1))
    run(payload(job, folder))
    rows = read_lines(folder / "jobs" / JOB / "metrics.jsonl")
    return [(row["learning_rate"], row["weights_digest"]) for row in rows]


@pytest.mark.parametrize(("stage", "rates"), [(PLATEAU, PLATEAU_RATES), (COSINE, None)], ids=["plateau", "cosine"])
def test_its_state_survives_an_interruption(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, rates: list[float] | None
) -> None:
    unharmed = train(tiny, tmp_path / "unharmed", stage)
    seen = [rate for rate, _ in unharmed]
    if rates is None:  # at the end of the head epoch, then down from epoch to epoch
        assert seen[0] == pytest.approx(0.002 * 0.55)  # the middle of its cosine: 2 of 4 steps are warm-up
        assert 0.002 > seen[1] > seen[2] > seen[3] > 0.0002
    else:
        assert seen == pytest.approx(rates)
    plan = tmp_path / "faults.json"
    steps = (9, 14)  # from the checkpoint before the first reduction, and after both
    faults = [{"job": JOB, "step": step, "action": "raise", "attempt": n} for n, step in enumerate(steps, start=1)]
    plan.write_text(json.dumps(faults))
    for name, value in {**HOOK, PLAN: str(plan)}.items():
        monkeypatch.setenv(name, value)
    for _ in steps:
        with pytest.raises(InjectedFault):
            train(tiny, tmp_path / "harmed", stage)
    assert train(tiny, tmp_path / "harmed", stage) == unharmed
    assert len(read_lines(tmp_path / "harmed" / "jobs" / JOB / "faults.jsonl")) == len(steps)
