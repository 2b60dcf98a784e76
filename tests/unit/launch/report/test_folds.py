"""The report of a run with folds: their jobs are no models of their own; the caveats say how the stack was fitted."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from launch.report.figures import figures
from launch.report.report import print_summary, write_report
from launch.run.record import read_run
from tests.helpers.parsed_page import checked
from tests.unit.launch.run_folder import SKILL, START, RunSpec, build

MEMBERS = [name for name in SKILL if name != "stack"]
JOBS = [f"{name}_fold{number}" for name in MEMBERS for number in (1, 2)]
USE = {"folds": 2, "members": "retrained", "fitted_on": 1200, "calibrated_on": 30, "accuracy": {"top": 0.8125}}
LEAK_FREE = {"on": False, "selection_share": None, "validation_pages": 30, "selected_on": 30, "fitted_on": 30}


def folded(run: Path, *, unfinished: tuple[str, ...] = (), **use: Any) -> Path:
    """A finished run of three classes with two folds, of which `unfinished` have not started."""
    build(run, RunSpec(classes=3, pages=30))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["stack"]["folds"] = 2
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | {"jobs": [*MEMBERS, *JOBS, "stack"]}))
    for job in JOBS:
        if job not in unfinished:
            shutil.copytree(run / "jobs" / job.rsplit("_", 1)[0], run / "jobs" / job)
    path = run / "jobs" / "stack" / "result.json"
    more = {"out_of_fold": USE | use, "leak_free": LEAK_FREE}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    return run


@pytest.mark.usefixtures("undrawn")
def test_folds_are_rows_of_their_own_table(tmp_path: Path) -> None:
    run = folded(tmp_path / "run", unfinished=("right_fold2",))
    page = checked(write_report(run, now=START + 600))
    assert "81.2%" in page.text, "the out-of-fold accuracy of a member"
    assert "1 of 2" in page.text and "2 of 2" in page.text
    data = json.loads((run / "metrics.json").read_text())
    assert data["models"]["top_fold2"]["fold_of"] == "top"
    assert "test" not in data["models"]["top_fold2"], "scored once, as part of its model"
    assert "fold_of" not in data["models"]["top"]
    assert data["comparison"]["second"] == "holistic_256"
    assert any("right_fold2" in line for line in data["warnings"])


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the charts, which take most of the time."""
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {})


@pytest.mark.parametrize(
    ("use", "leak_free", "words"),
    [
        ({}, {}, ["1,200 training pages", "one of 2", "no label", "trained on all of them", "optimistic"]),
        ({"members": "average"}, {}, ["averages of the models of the folds"]),
        ({"calibrated_on": 18}, {"on": True, "selected_on": 12}, ["12 validation pages selected", "other 18"]),
    ],
)
def test_the_caveats_say_how_the_stack_was_fitted(
    tmp_path: Path, use: dict[str, Any], leak_free: dict[str, Any], words: list[str]
) -> None:
    run = folded(tmp_path / "run", **use)
    path = run / "jobs" / "stack" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"leak_free": LEAK_FREE | leak_free}))
    (line,) = [x for x in figures(read_run(run), class_names={}, now=START)["warnings"] if "out of fold" in x]
    for word in words:
        assert word in line
    assert "stack.duplicates_file" in line


def test_the_summary_leaves_the_folds_out(tmp_path: Path) -> None:
    run, out = folded(tmp_path / "run"), io.StringIO()
    print_summary(run, Console(file=out, width=160))
    assert "holistic_256 " in out.getvalue()
    assert "holistic_256_fold1" not in out.getvalue()


def test_a_stage_that_only_sounds_like_a_fold_is_a_model(tmp_path: Path) -> None:
    run = folded(tmp_path / "run")
    assert read_run(run).member_of("top_fold2") == "top"
    assert read_run(run).member_of("top_fold3") is None, "there are two folds"
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["stack"]["folds"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_run(run).member_of("top_fold2") is None
