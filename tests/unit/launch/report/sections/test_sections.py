"""Sections of the report: where each curve begins, which mistakes are shown, what each model contributes."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from launch.report.report import write_report
from launch.report.schema import RunFigures
from launch.report.sections.mistakes import confident_mistakes
from launch.report.sections.transfer_curves import curves_of
from tests.helpers.parsed_page import checked
from tests.unit.launch.run_folder import START, RunSpec, build
from trainer.scoring.predictions import Predictions, read_predictions

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the charts, which take most of the time."""
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {"contributions": "<svg></svg>"})


def reported(run: Path) -> RunFigures:
    write_report(run, now=START + 600)
    return cast(RunFigures, json.loads((run / "metrics.json").read_text()))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_job_begins_at_the_epoch_whose_weights_it_took(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(pages=40))
    start = {"kind": "warm_start", "from": "holistic_256", "digest": "x", "checkpoint": "checkpoints/step-00000120"}
    change(run / "jobs" / "top" / "result.json", start=start)
    start = {"kind": "warm_start", "from": "holistic_128", "digest": "x"}
    change(run / "jobs" / "holistic_256" / "result.json", start=start, best_epoch=6)
    change(run / "jobs" / "holistic_128" / "result.json", best_epoch=5)
    curves = {curve.job: curve for curve in curves_of(reported(run), "val_accuracy")}
    assert "stack" not in curves
    assert (curves["holistic_128"].offset, curves["holistic_128"].source) == (0, None)
    assert (curves["holistic_256"].offset, curves["holistic_256"].source_epoch) == (5, 5)
    assert (curves["top"].offset, curves["top"].source, curves["top"].source_epoch) == (9, "holistic_256", 4)
    assert list(curves).index("holistic_256") < list(curves).index("top")


@pytest.mark.parametrize("done", [(), ("holistic_128",)])
def test_a_run_that_has_begun(done: tuple[str, ...], tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=done, running=("holistic_256",) if done else (), pages=40))
    curves = curves_of(reported(run), "val_loss")
    assert [curve.job for curve in curves] == (["holistic_128", "holistic_256"] if done else [])


@pytest.mark.parametrize(
    ("config", "source"), [("start_job: holistic_128", "holistic_128"), ("start_job: null", None), ("{", None)]
)
def test_a_running_job_begins_where_its_configuration_says(config: str, source: str | None, tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(done=("holistic_128",), running=("holistic_256",), pages=40))
    (run / "jobs" / "holistic_256" / "config.yaml").write_text(config)
    change(run / "jobs" / "holistic_128" / "result.json", best_epoch=4)
    curve = curves_of(reported(run), "val_accuracy")[-1]
    assert (curve.job, curve.source, curve.offset) == ("holistic_256", source, 4 if source else 0)


def test_jobs_that_name_each_other_end(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(pages=40))
    for job, source in (("top", "left"), ("left", "top")):
        change(run / "jobs" / job / "result.json", start={"kind": "warm_start", "from": source, "digest": "x"})
    assert {"top", "left"} <= {curve.job for curve in curves_of(reported(run), "val_accuracy")}


def test_the_most_confident_mistakes_come_first(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(pages=120))
    rows = read_predictions(run / "jobs" / "holistic_128" / "predictions" / "test.npz")
    found = confident_mistakes(rows)
    assert len(found) == 12
    confidences = [mistake.top[0][1] for mistake in found]
    assert confidences == sorted(confidences, reverse=True)
    wrong = rows.softmax.argmax(axis=1) != rows.labels
    assert confidences[0] == rows.softmax.max(axis=1)[wrong].max()
    for mistake in found:
        assert mistake.top[0][0] != mistake.label
        assert mistake.given < mistake.top[0][1]


@pytest.mark.parametrize("count", [0, 3])
def test_no_mistakes(count: int) -> None:
    softmax = np.eye(3, dtype=np.float32)[:count]
    ids = np.array([f"{i}.tif" for i in range(count)], np.str_)
    assert confident_mistakes(Predictions(ids, np.arange(count, dtype=np.int32), softmax, np.arange(3))) == []


def test_the_page_shows_mistakes_and_contributions(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(pages=80, test_ids=[f"<b>{i}.tif" for i in range(80)]))
    row = {"pages": 80, "accuracy_without": 0.8125, "loss_without": 0.5, "difference": 0.025,
           "difference_interval": [-0.0125, 0.0625], "p_mid": 0.25}  # fmt: skip
    change(run / "jobs" / "stack" / "result.json", contributions={"top": row})
    reported(run)
    page = checked(run / "report.html")
    assert "81.2%" in page.text
    assert "+2.5" in page.text
    assert "-1.2 to +6.2" in page.text
    rows = read_predictions(run / "jobs" / "stack" / "predictions" / "test.npz")
    for mistake in confident_mistakes(rows):
        assert mistake.id in page.text
