"""Runs beside the first of them: paired tests by page id, other labels, other classes, what differs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_tools.errors import UserError
from launch.cli import main
from launch.report.compare.comparison import compare
from launch.report.compare.show import short_names
from tests.unit.launch.run_folder import RunSpec, build
from trainer.scoring.predictions import read_predictions, write_predictions

SPEC = RunSpec(classes=4, pages=120)


def outputs_of(run: Path, job: str) -> Path:
    return run / "jobs" / job / "predictions" / "test.npz"


def spoil(run: Path, job: str, count: int) -> None:
    """Let the job predict the next class for its first `count` right pages."""
    rows = read_predictions(outputs_of(run, job))
    right = np.flatnonzero(rows.softmax.argmax(axis=1) == rows.labels)[:count]
    softmax = rows.softmax.copy()
    softmax[right] = np.eye(len(rows.class_ids), dtype=np.float32)[(rows.labels[right] + 1) % len(rows.class_ids)]
    write_predictions(outputs_of(run, job), replace(rows, softmax=softmax))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs with equal outputs."""
    return build(tmp_path / "before", SPEC), build(tmp_path / "after", SPEC)


def test_equal_runs(pair: tuple[Path, Path]) -> None:
    first, second = compare(pair)
    assert first.models["stack"].against is None
    assert second.settings == ()
    assert second.confusions == ()
    for name, figures in second.models.items():
        assert figures.accuracy == first.models[name].accuracy
        assert figures.against is not None
        assert (figures.against.difference, figures.against.p_mid, figures.common) == (0.0, 1.0, 120)


def test_a_worse_stack(pair: tuple[Path, Path]) -> None:
    spoil(pair[1], "stack", 20)
    first, second = compare(pair)
    against = second.models["stack"].against
    assert against is not None
    assert against.difference == pytest.approx(-20 / 120)
    assert against.p_mid < 0.001
    assert second.models["top"].against.difference == 0.0  # type: ignore[union-attr]
    assert sum(one.this - one.first for one in second.confusions) == 20
    assert first.confusions == ()


def test_only_common_pages_with_equal_labels_are_compared(pair: tuple[Path, Path]) -> None:
    for job in ("stack", "holistic_256"):
        rows = read_predictions(outputs_of(pair[1], job))
        labels = rows.labels.copy()
        labels[:5] = (labels[:5] + 1) % len(rows.class_ids)
        write_predictions(outputs_of(pair[1], job), replace(rows, labels=labels).rows(np.arange(100)))
    _, second = compare(pair)
    assert second.models["stack"].common == 95
    assert second.relabeled == 5
    assert second.models["top"].common == 120


def test_settings_that_differ_are_named(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["seed"] = 77
    path.write_text(yaml.safe_dump(config))
    _, second = compare(pair)
    assert len(second.settings) == 1
    assert "seed" in second.settings[0]


def test_a_run_without_a_finished_model_is_rejected(pair: tuple[Path, Path], tmp_path: Path) -> None:
    empty = build(tmp_path / "empty", replace(SPEC, done=()))
    with pytest.raises(UserError, match="empty"):
        compare([pair[0], empty])


def test_the_command(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(pair[1], "stack", 20)
    html, data = tmp_path / "page.html", tmp_path / "data.json"
    assert main(["compare", *map(str, pair), "--html", str(html), "--json", str(data)]) == 0
    written = json.loads(data.read_text())
    assert [run["run"] for run in written] == [str(run) for run in pair]
    assert written[1]["models"]["stack"]["against"]["difference"] == pytest.approx(-20 / 120)
    assert "http" not in html.read_text().replace("http-equiv", ""), "the page loads nothing"
    assert "-16.7" in capsys.readouterr().out


def test_one_run_is_not_a_comparison(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(pair[0])]) == 2
    assert str(pair[0]) in capsys.readouterr().err


def test_short_names() -> None:
    assert short_names(["runs/a", "other/b"]) == ["a", "b"]
    assert short_names(["runs/a", "other/a", "c"]) == ["runs/a", "other/a", "c"]


def test_corrections_differ_by_their_content(pair: tuple[Path, Path]) -> None:
    for run, sha in zip(pair, ("a" * 64, "b" * 64), strict=True):
        path = run / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["data"]["corrections"] = "corrections.csv"
        path.write_text(yaml.safe_dump(config))
        record = {
            "path": "/c.csv",
            "sha256": sha,
            "rows": 3,
            "splits": {"train": {"relabel": 2}, "val": {"exclude": 1}},
        }
        (run / "corrections.json").write_text(json.dumps(record))
    (line,) = compare(pair)[1].settings
    assert line.startswith("data.corrections: ")
    assert "aaaaaaaaaaaa" in line
    assert "bbbbbbbbbbbb" in line
    assert "1 exclude, 2 relabel" in line


def test_folds_are_no_models_but_their_time_counts(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name, RunSpec(classes=4, pages=40)) for name in ("a", "b"))
    config = yaml.safe_load((second / "config.yaml").read_text())
    config["stack"] |= {"folds": 2, "members": "average"}
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    for number in (1, 2):
        shutil.copytree(second / "jobs" / "top", second / "jobs" / f"top_fold{number}")
    path = second / "jobs" / "top" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"models": ["top_fold1", "top_fold2"]}))
    runs = compare([first, second])
    assert set(runs[0].models) == set(runs[1].models)
    one = runs[0].models["top"].seconds
    assert one is not None and runs[0].seconds is not None
    assert runs[1].seconds == pytest.approx(runs[0].seconds + one), "twice for the folds, not again for their average"
