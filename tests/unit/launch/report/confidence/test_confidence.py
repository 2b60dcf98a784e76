"""The report's section on confidence: figures of the stored outputs under the run's policy, and other precisions."""

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from data_tools.errors import UserError
from launch.cli import main
from launch.report.confidence.figures import confidence_figures
from launch.report.confidence.policy import calibrated
from launch.report.confidence.tables import decision_table, score_table
from launch.report.report import write_page, write_report
from launch.report.sections.mistakes import confident_mistakes
from tests.helpers.parsed_page import checked
from tests.unit.launch.run_folder import START, RunSpec, build
from trainer.scoring.contrast import contrast_file, write_contrasts
from trainer.scoring.decision import Policy, judge, policy_file, read_policy, write_policy
from trainer.scoring.metrics import correct, expected_calibration_error
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions

pytestmark = pytest.mark.usefixtures("undrawn")

SPEC = RunSpec(classes=4, pages=400)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the charts, which take most of the time."""
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("made") / "run", SPEC)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A finished run with a policy, to change at will."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def policy_of(run: Path) -> Policy:
    policy = read_policy(run)
    assert policy is not None
    return policy


def stored(run: Path) -> dict[str, Predictions]:
    names = (*policy_of(run).members, "stack")
    return {name: read_predictions(run / "jobs" / name / "predictions" / "test.npz") for name in names}


def confidence(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text())["confidence"])


def test_the_figures_are_those_of_the_policy_on_the_stored_outputs(run: Path) -> None:
    write_report(run, now=START + 600)
    found, tables = confidence(run), stored(run)
    judged = judge(policy_of(run), {name: rows.softmax for name, rows in tables.items()})
    labels = tables["stack"].labels
    for name, row in found["models"].items():
        softmaxes = tables[name].softmax, judged.probabilities[name]
        assert row["calibration_error"] == [expected_calibration_error(labels, softmax) for softmax in softmaxes]
        assert row["area"] >= row["least_area"] > 0
    right = correct(labels, judged.probabilities["stack"])
    decisions = np.array(judged.decisions)
    for name, row in found["decisions"].items():
        assert row["pages"] == (decisions == name).sum()
        assert row["accuracy"] == pytest.approx(right[decisions == name].mean())
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert sum(row["pages"] for row in found["decisions"].values()) == 400
    assert [row["pages"] for row in found["reviewed"]] == [4, 20, 40, 80]
    run_row, *class_rows = found["thresholds"]
    assert (run_row["test_accepted"], run_row["class_id"]) == (found["decisions"]["accepted"]["pages"], None)
    assert [row["class_id"] for row in class_rows] == [0, 1, 2, 3]
    assert sum(row["test_pages"] for row in class_rows) == run_row["test_pages"]
    # A class without a threshold of its own has that of the run.
    assert all(row["certified"] or row["threshold"] == run_row["threshold"] for row in class_rows)
    assert sum(pages for *_, pages in found["reliability"]["after"]) == 400


def test_the_page_shows_what_the_stored_outputs_are_calibrated_to(run: Path) -> None:
    """The probabilities of the sample pages are the calibrated ones, to the digit."""
    page = checked(write_report(run, now=START + 600))
    tables = stored(run)
    judged = judge(policy_of(run), {name: rows.softmax for name, rows in tables.items()})
    ids = tables["stack"].ids.tolist()
    mistakes = confident_mistakes(calibrated(policy_of(run), tables)["stack"])
    for mistake in mistakes:
        row = ids.index(mistake.id)
        assert f"{judged.probabilities['stack'][row].max():.1%}" in page.text
    sampled = set(ids) - {mistake.id for mistake in mistakes}
    shown = [row for row, page_id in enumerate(ids) if page_id in sampled and page_id in page.text]
    assert len(shown) >= 8
    for row in shown:
        for name, softmax in judged.probabilities.items():
            assert f"{softmax[row].max():.1%}" in page.text, name


@pytest.mark.parametrize(("precision", "more"), [(0.85, True), (0.99, False)])
def test_another_precision_is_chosen_on_validation_and_stored(run: Path, precision: float, more: bool) -> None:
    before = policy_of(run)
    write_report(run, now=START + 600, precision=precision)
    after = policy_of(run)
    assert after.precision == confidence(run)["precision"] == precision
    assert after.temperatures == before.temperatures and after.unknown_threshold == before.unknown_threshold
    assert (after.threshold.accepted > before.threshold.accepted) == more
    write_report(run, now=START + 600)
    assert confidence(run)["precision"] == precision
    write_report(run, now=START + 600, precision=0.95)
    assert policy_of(run) == before


def test_a_report_elsewhere_leaves_the_run_as_it_is(run: Path, tmp_path: Path) -> None:
    before = policy_file(run).read_bytes()
    write_report(run, tmp_path / "other", now=START + 600, precision=0.8)
    assert json.loads((tmp_path / "other" / "metrics.json").read_text())["confidence"]["precision"] == 0.8
    write_page(run, tmp_path / "page.html", precision=0.8)
    assert policy_file(run).read_bytes() == before
    assert not (run / "metrics.json").exists()


def test_a_run_of_an_earlier_version_has_no_decisions_and_says_so(run: Path) -> None:
    policy_file(run).unlink()
    page = checked(write_report(run, now=START + 600))
    data = json.loads((run / "metrics.json").read_text())
    assert data["confidence"] is None
    (line,) = [line for line in data["warnings"] if "no calibration" in line]
    assert line in page.text
    with pytest.raises(UserError, match=r"calibration\.json"):
        write_report(run, precision=0.9)


def test_a_damaged_policy_is_reported_and_the_report_is_written(run: Path) -> None:
    policy_file(run).write_text('{"format": 1')
    checked(write_report(run, now=START + 600))
    data = json.loads((run / "metrics.json").read_text())
    assert data["confidence"] is None
    assert any("calibration.json" in line for line in data["warnings"])


def test_members_of_other_pages_are_reported(run: Path) -> None:
    path = run / "jobs" / "left" / "predictions" / "test.npz"
    rows = read_predictions(path)
    write_predictions(path, rows.rows(np.arange(1, len(rows.ids))))
    write_report(run, now=START + 600)
    data = json.loads((run / "metrics.json").read_text())
    assert data["confidence"] is None
    assert any(str(rows.ids[0]) in line for line in data["warnings"])


def test_no_test_outputs_yet(run: Path) -> None:
    tables = stored(run)
    assert confidence_figures(policy_of(run), {"stack": tables["stack"]}) is None
    assert confidence_figures(policy_of(run), {name: rows.rows(np.arange(0)) for name, rows in tables.items()}) is None


@pytest.mark.parametrize("precision", ["0", "1", "-0.5", "95", "nan"])
def test_a_precision_out_of_range_is_refused(run: Path, precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = policy_file(run).read_bytes()
    assert main(["report", str(run), f"--precision={precision}"]) == 2
    assert "precision" in capsys.readouterr().err
    assert policy_file(run).read_bytes() == before and not (run / "metrics.json").exists()


def test_too_few_pages_to_certify_is_a_caveat(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(classes=4, pages=40))
    write_report(run, now=START + 600)
    data = json.loads((run / "metrics.json").read_text())
    assert data["confidence"]["decisions"]["accepted"]["pages"] == 0
    assert any("45" in line and "40 validation pages" in line for line in data["warnings"])


def test_evaluate_prints_what_the_report_shows(run: Path) -> None:
    """The same outputs give the same digits in both."""
    write_report(run, now=START + 600)
    found, tables = confidence(run), stored(run)
    judged = judge(policy_of(run), {name: rows.softmax for name, rows in tables.items()})
    out = io.StringIO()
    console = Console(file=out, width=160)
    labels = tables["stack"].labels
    console.print(score_table("scores", labels, judged))
    console.print(decision_table(labels, judged))
    for name, row in found["models"].items():
        assert re.search(rf"{name} .*{row['loss'][1]:.4f} .*{row['calibration_error'][1]:.2%}", out.getvalue())
    for name, decision in found["decisions"].items():
        assert re.search(rf"{name} .*{decision['pages']} .*{decision['accuracy']:.1%}", out.getvalue())
    undecided = dataclasses.replace(judged, decisions=["review"] * 400)
    console.print(decision_table(labels, undecided))


def test_classes_without_enough_pages_have_the_threshold_of_the_run_or_none(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(classes=16, pages=320))
    policy = policy_of(run)
    assert all(threshold.value is None for threshold in policy.class_thresholds)
    rows = (confidence_figures(policy, stored(run)) or {})["thresholds"]
    assert sum(row["test_accepted"] for row in rows[1:]) == rows[0]["test_accepted"] > 0
    by_class = dataclasses.replace(policy, threshold_per="class")
    (_, *classes) = (confidence_figures(by_class, stored(run)) or {})["thresholds"]
    assert {row["threshold"] for row in classes} == {None}
    assert sum(row["test_accepted"] for row in classes) == 0


def test_blank_pages_are_unknown_as_in_predict(run: Path) -> None:
    tables = stored(run)
    ids = tables["stack"].ids.tolist()
    judged = judge(policy_of(run), {name: rows.softmax for name, rows in tables.items()})
    write_policy(run, dataclasses.replace(policy_of(run), faintest=40.0))
    blank = [place for place, decision in enumerate(judged.decisions) if decision == "accepted"][:3]
    contrasts = {page_id: 5.0 if place in blank else 55.0 for place, page_id in enumerate(ids)}
    write_contrasts(contrast_file(run, "test"), contrasts)
    write_report(run, now=START + 600)
    found = confidence(run)["decisions"]
    assert found["accepted"]["pages"] == judged.decisions.count("accepted") - 3
    assert found["unknown"]["pages"] == judged.decisions.count("unknown") + 3


@pytest.mark.parametrize("kept", [False, True])
def test_a_report_without_the_contrast_of_all_test_pages_says_so(run: Path, kept: bool) -> None:
    write_policy(run, dataclasses.replace(policy_of(run), faintest=40.0))
    if kept:
        write_contrasts(contrast_file(run, "test"), {"another.tif": 1.0})
    write_report(run, now=START + 600)
    data = json.loads((run / "metrics.json").read_text())
    assert data["confidence"]
    assert any("Blank" in line for line in data["warnings"])


def test_a_corrupt_file_of_contrasts_is_reported(run: Path) -> None:
    write_policy(run, dataclasses.replace(policy_of(run), faintest=40.0))
    contrast_file(run, "test").write_bytes(b"half")
    write_report(run, now=START + 600)
    data = json.loads((run / "metrics.json").read_text())
    assert data["confidence"] is None
    assert any("test_contrast.npz" in line for line in data["warnings"])
