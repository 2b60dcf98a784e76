"""The plateau rule in real training: reduced rates, and a state that survives an interruption."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.files import read_lines
from launch.config import load_config
from launch.recipe.jobs import payload
from launch.recipe.stages import plan_recipe
from tests.helpers.faults import HOOK, PLAN, InjectedFault
from trainer.config import CheckpointConfig
from trainer.job import run

JOB = "holistic_16"
RATES = [0.002, 0.002, 0.001, 0.0005]
"""Rates of four epochs, of which only the first counts as an improvement: halved after each of the others."""


def train(tiny: Path, folder: Path) -> list[tuple[float, str]]:
    """Learning rate and weights' digest of each epoch."""
    stage = {"epochs": 4, "plateau": {"patience": 1, "factor": 0.5, "min_delta": 1.0}}
    config = load_config(str(tiny), [f"stages.{JOB}.{key}={json.dumps(value)}" for key, value in stage.items()])
    job = replace(plan_recipe(config).of_stage(JOB, None), checkpoint=CheckpointConfig(every_steps=1, agree_steps=1))
    run(payload(job, folder))
    rows = read_lines(folder / "jobs" / JOB / "metrics.jsonl")
    return [(row["learning_rate"], row["weights_digest"]) for row in rows]


def test_its_state_survives_an_interruption(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unharmed = train(tiny, tmp_path / "unharmed")
    assert [rate for rate, _ in unharmed] == pytest.approx(RATES)
    plan = tmp_path / "faults.json"
    steps = (9, 14)  # from the checkpoint before the first reduction, and after both
    faults = [{"job": JOB, "step": step, "action": "raise", "attempt": n} for n, step in enumerate(steps, start=1)]
    plan.write_text(json.dumps(faults))
    for name, value in {**HOOK, PLAN: str(plan)}.items():
        monkeypatch.setenv(name, value)
    for _ in steps:
        with pytest.raises(InjectedFault):
            train(tiny, tmp_path / "harmed")
    assert train(tiny, tmp_path / "harmed") == unharmed
    assert len(read_lines(tmp_path / "harmed" / "jobs" / JOB / "faults.jsonl")) == len(steps)
