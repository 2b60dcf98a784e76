"""The report of a run with a student: a row and a table of its own, and the stack is still the run's answer."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from launch.report.card.model_card import model_card
from launch.report.figures import figures
from launch.report.report import print_summary, write_report
from launch.run.record import read_run
from launch.run.status import status_of
from tests.helpers.parsed_page import checked
from tests.unit.launch.report.card.test_model_card import exported
from tests.unit.launch.run_folder import NAMES, START, RunSpec, build
from trainer.config import CheckpointConfig, JobConfig, ModelConfig, StageConfig, TrainingConfig
from trainer.distill.student import measure_student
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions
from trainer.soft_targets.config import DISTILLED, TEACHER, Distillation
from trainer.stack.fit import FittedStack, save_stack
from trainer.stack.mlp import Mlp

MEMBERS = ("holistic_256", "top", "bottom", "left", "right")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose student answers half way between the whole-page model and the stack."""
    run = build(tmp_path_factory.mktemp("distilled") / "run", RunSpec(classes=4, pages=200))
    nothing = np.zeros((0, 0), np.float32)
    save_stack(run / "jobs" / "stack", FittedStack(MEMBERS, np.arange(4), "average", np.ones(5), np.zeros((20, 4)),
                                                   np.zeros(4), Mlp(nothing, nothing, nothing, nothing)))  # fmt: skip
    for split in ("val", "test"):
        files = (run / "jobs" / name / "predictions" / f"{split}.npz" for name in ("holistic_256", "stack"))
        whole, stack = map(read_predictions, files)
        between = Predictions(stack.ids, stack.labels, (whole.softmax + stack.softmax) / 2, stack.class_ids)
        write_predictions(run / "jobs" / DISTILLED / "predictions" / f"{split}.npz", between)
    student = JobConfig(
        name=DISTILLED, stage_name=DISTILLED, region="holistic", shards="shards", seed=1, stage=StageConfig(),
        model=ModelConfig(), training=TrainingConfig(), checkpoint=CheckpointConfig(),
        distill=Distillation(temperature=2.0, alpha=0.7, pages=300, unlabelled=100),
    )  # fmt: skip
    result = {"region": "holistic", "epochs": 3, "seconds": 9.0, "distilled": measure_student(run, student)}
    (run / "jobs" / DISTILLED / "result.json").write_text(json.dumps(result))
    (run / "jobs" / TEACHER).mkdir()
    (run / "jobs" / TEACHER / "result.json").write_text(json.dumps({"job": TEACHER, "seconds": 5.0}))
    return run


def test_the_figures_have_the_student_and_the_stack_keeps_its_own_comparison(run: Path) -> None:
    data = figures(read_run(run), class_names={}, now=START + 600)
    assert data["distilled"] is not None
    assert [row["against"] for row in data["distilled"]["paired"]] == ["holistic_256", "stack"]
    assert data["comparison"] is not None
    assert (data["comparison"]["first"], data["comparison"]["second"]) == ("stack", "holistic_256")
    assert data["models"][DISTILLED]["test"]["accuracy"] == data["distilled"]["accuracies"][DISTILLED]
    assert list(data["models"])[-1] == "stack"
    assert status_of(read_run(run), now=START + 600).state == "done"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without charts, which take seconds."""
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {})


@pytest.mark.usefixtures("undrawn")
def test_the_page_and_the_summary_show_it(run: Path, tmp_path: Path) -> None:
    page = checked(write_report(run, tmp_path, now=START + 600))
    assert "Distilled model" in page.text
    assert "also on 100 pages without a label" in page.text
    console = Console(file=io.StringIO(), width=160)
    print_summary(run, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "distilled − holistic_256 on 200 test pages" in shown
    assert "distilled − stack on 200 test pages" in shown
    assert "of the stack's gain" in shown


def test_the_card_of_its_export_gives_its_own_calibration_and_comparison(run: Path) -> None:
    record = read_run(run)
    data = figures(record, class_names=dict(enumerate(NAMES[:4])), now=START + 600)
    card = model_card(record, data, exported(DISTILLED))
    assert data["distilled"] is not None
    assert f"{data['distilled']['calibrated']['temperature']:.3f}" in card
    assert "of the stack's gain over" in card


def test_a_student_is_reported_while_it_is_not_finished(run: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "run"
    shutil.copytree(run, other)
    (other / "jobs" / DISTILLED / "result.json").unlink()
    data = figures(read_run(other), class_names={}, now=START + 600)
    assert data["distilled"] is None
    assert data["comparison"] is not None
    assert data["comparison"]["second"] == "holistic_256"
