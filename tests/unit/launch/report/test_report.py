"""The report of a run in every state, from its folder alone."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from launch.report.figures import busy_seconds, most_at_once
from launch.report.report import print_summary, write_report
from launch.report.samples import pick_samples
from launch.report.timeline import find_cuts, on_axis
from tests.helpers.parsed_page import checked
from tests.unit.launch.run_folder import NAMES, START, RunSpec, build
from trainer.scoring.predictions import Predictions, read_predictions

pytestmark = pytest.mark.timeout(240)  # drawing takes seconds, more on a busy machine

HOSTILE = ("<script>alert(1)</script>", 'a "quoted" & <b>name</b>', "$5 bill_{x}")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report."""
    run = build(tmp_path_factory.mktemp("full") / "run", RunSpec(retried=("left",)))
    write_report(run, now=START + 600)
    return run


def metrics(run: Path) -> dict[str, Any]:
    """The content of metrics.json, which must be strict JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return dict(json.loads((run / "metrics.json").read_text(), parse_constant=refuse))


def test_the_report_shows_every_model_class_and_chart(full: Path) -> None:
    page = checked(full / "report.html")
    data = metrics(full)
    for name, model in data["models"].items():
        assert f"{name} " in page.text
        assert f"{model['test']['accuracy']:.1%}" in page.text
    assert all(name in page.text for name in NAMES)
    assert page.tags.count("svg") == len(list((full / "pictures").glob("*.png")))
    assert all(row["weights_digest"][:12] in page.text for row in data["transfers"])
    assert all(version in page.text for version in data["versions"].values())


def test_metrics_match_the_predictions(full: Path) -> None:
    data = metrics(full)
    rows = read_predictions(full / "jobs" / "stack" / "predictions" / "test.npz")
    test = data["models"]["stack"]["test"]
    assert test["count"] == len(rows.ids)
    assert test["accuracy"] == pytest.approx((rows.softmax.argmax(1) == rows.labels).mean())
    assert test["accuracy_interval"][0] < test["accuracy"] < test["accuracy_interval"][1]
    assert np.array(test["confusion"]).sum() == len(rows.ids)
    assert data["comparison"]["second"] == "holistic_256"
    assert data["comparison"]["difference"] == pytest.approx(
        test["accuracy"] - data["models"]["holistic_256"]["test"]["accuracy"]
    )
    assert data["headline"] == {
        "jobs": 7, "jobs_done": 7, "jobs_failed": [], "busy_seconds": 387.0, "most_jobs_at_once": 4,
    }  # fmt: skip


def test_charts_are_written_next_to_the_report(full: Path) -> None:
    names = {path.name for path in (full / "pictures").iterdir()}
    assert names == {
        "accuracy.png", "classes.png", "confidence.png", "confusion-holistic_256.png", "confusion-stack.png",
        "curves.png", "timeline.png", "transfers.png",
    }  # fmt: skip
    assert all((full / "pictures" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_transfers_are_checked_against_the_source(full: Path) -> None:
    found = {row["job"]: (row["from"], row["matches"]) for row in metrics(full)["transfers"]}
    assert found["holistic_256"] == ("holistic_128", True)
    assert found["left"] == ("holistic_256", True)
    assert found["holistic_128"] == (None, None)


def test_a_shared_validation_set_is_reported(full: Path) -> None:
    (warning,) = metrics(full)["warnings"]
    assert "validation" in warning


def test_the_summary_lists_every_model_and_the_gain(full: Path) -> None:
    out = io.StringIO()
    print_summary(full, Console(file=out, width=160))
    data = metrics(full)
    for name, model in data["models"].items():
        assert re.search(rf"{name} .*{model['test']['accuracy']:.1%}", out.getvalue())
    assert f"{100 * data['comparison']['difference']:+.1f} points" in out.getvalue()
    for name, row in data["confidence"]["decisions"].items():
        assert f"{row['pages']} {name} ({row['accuracy']:.1%} right)" in out.getvalue()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the charts, which take most of the time."""
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {})


def small(run: Path, **more: Any) -> Path:
    """The report of a run with three classes and few pages."""
    build(run, RunSpec(classes=3, pages=30, **more))
    return write_report(run, now=START + 600)


def test_names_are_escaped(tmp_path: Path) -> None:
    page = checked(small(tmp_path / "<i>run", names=HOSTILE))
    assert all(name in page.text for name in (*HOSTILE, "<i>run"))


def test_a_run_with_one_finished_job(tmp_path: Path) -> None:
    page = checked(small(tmp_path / "run", done=("holistic_128",), running=("holistic_256",)))
    data = metrics(tmp_path / "run")
    assert data["models"]["holistic_128"]["state"] == "done"
    assert data["models"]["top"]["state"] == "waiting"
    assert data["comparison"] is None
    assert data["models"]["holistic_256"]["silent_s"] > 60
    stale, unfinished = data["warnings"][:2]
    assert stale.startswith("holistic_256 ")
    assert all(name in unfinished for name in ("holistic_256", "top", "bottom", "left", "right", "stack"))
    assert stale in page.text and unfinished in page.text


@pytest.mark.usefixtures("undrawn")
def test_accuracy_by_document(tmp_path: Path) -> None:
    spec = RunSpec(classes=4, pages=40, names=NAMES[:4])
    ids = tuple(f"{number % 4}.pdf#page={number // 4 + 1}" for number in range(spec.pages))
    run = build(tmp_path / "run", replace(spec, test_ids=ids, policy=False))
    write_report(run, now=START + 600)
    documents = metrics(run)["models"]["stack"]["test"]["documents"]
    assert (documents["count"], documents["several_pages"]) == (4, 4)
    assert f"{documents['accuracy']:.1%}" in checked(run / "report.html").text
    assert "documents" not in metrics(run)["models"]["stack"]["val"]


@pytest.mark.usefixtures("undrawn")
def test_a_run_with_a_failed_job(tmp_path: Path) -> None:
    done = ("holistic_128", "holistic_256", "top", "left", "right")
    page = checked(small(tmp_path / "run", done=done, failed=("bottom",)))
    assert "rank 0 on node1: ValueError: loss is <nan> & not finite" in page.text
    assert metrics(tmp_path / "run")["headline"]["jobs_failed"] == ["bottom"]


def test_a_run_whose_jobs_have_not_started(tmp_path: Path) -> None:
    checked(small(tmp_path / "run", done=()))
    headline = metrics(tmp_path / "run")["headline"]
    assert (headline["jobs"], headline["jobs_done"], headline["most_jobs_at_once"]) == (7, 0, 0)
    assert list((tmp_path / "run").glob("pictures/*")) == []


@pytest.mark.usefixtures("undrawn")
def test_contradictions_and_corrupt_files_are_reported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    build(run, RunSpec(classes=3, pages=30, done=("holistic_128", "holistic_256")))
    result = run / "jobs" / "holistic_256" / "result.json"
    changed = json.loads(result.read_text()) | {"test_accuracy": 0.123}
    changed["start"]["digest"] = "another"
    result.write_text(json.dumps(changed))
    (run / "jobs" / "holistic_128" / "predictions" / "val.npz").write_bytes(b"no archive")
    checked(write_report(run, now=START + 600))
    warnings = metrics(run)["warnings"]
    for named in (("holistic_256", "0.1230"), ("holistic_256", "holistic_128", "digest"), ("val.npz",)):
        assert any(all(word in line for word in named) for line in warnings), named


@pytest.mark.usefixtures("undrawn")
def test_a_loss_that_is_not_a_number_stays_out_of_the_json(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(classes=3, pages=30, done=("holistic_128",)))
    with (run / "jobs" / "holistic_128" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "train_loss": NaN, "val_loss": Infinity}\n')
    checked(write_report(run, now=START + 600))
    data = metrics(run)
    assert data["models"]["holistic_128"]["epochs"][-1] == {"epoch": 7, "train_loss": None, "val_loss": None}
    assert any("holistic_128" in line and "NaN" in line for line in data["warnings"])


@pytest.mark.usefixtures("undrawn")
def test_a_copied_run_gives_the_same_report(tmp_path: Path) -> None:
    first = small(tmp_path / "a" / "run", done=("holistic_128",)).read_text()
    shutil.copytree(tmp_path / "a" / "run", tmp_path / "b" / "run")
    again = write_report(tmp_path / "b" / "run", now=START + 600).read_text()
    assert again == first


def test_samples_cover_three_kinds_and_many_classes() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2], np.int32)
    ids = np.array([f"p{i}" for i in range(6)])

    def table(predicted: list[int], confidence: list[float]) -> Predictions:
        softmax = np.full((6, 3), 0.1, np.float32)
        softmax[np.arange(6), predicted] = confidence
        return Predictions(ids, labels, softmax, np.arange(3, dtype=np.int64))

    confidence = [0.9, 0.8, 0.7, 0.6, 0.95, 0.5]
    tables = {"stack": table([0, 0, 1, 1, 0, 1], confidence), "h": table([0, 1, 1, 0, 2, 2], confidence)}
    found = [(sample.kind, sample.id) for sample in pick_samples(tables, final="stack", reference="h", per_kind=2)]
    assert found == [
        ("corrected", "p1"),
        ("corrected", "p3"),
        ("wrong", "p4"),
        ("wrong", "p5"),
        ("right", "p0"),
        ("right", "p2"),
    ]
    alone = pick_samples({"h": tables["h"]}, final="h", reference=None, per_kind=9)
    assert [sample.kind for sample in alone] == ["wrong"] * 2 + ["right"] * 4
    assert alone[0].models["h"][0] == (1, pytest.approx(0.8))


def test_busy_time_and_jobs_at_once() -> None:
    assert busy_seconds([]) == 0
    assert busy_seconds([(0, 10), (5, 8), (20, 30), (30, 35)]) == 25
    assert most_at_once([(0, 10), (10, 20)]) == 1
    assert most_at_once([(0, 10), (5, 8), (6, 9), (20, 30)]) == 3
    assert most_at_once([]) == 0


def test_idle_stretches_of_a_resumed_run_are_shortened() -> None:
    spans = [(0.0, 100.0), (105.0, 200.0), (10_000.0, 10_100.0)]
    (cut,) = find_cuts(spans)
    assert (cut.start, cut.seconds) == (200, 9800)
    assert on_axis(105, 0, cuts=[cut]) == 105
    assert on_axis(10_000, 0, cuts=[cut]) == pytest.approx(200 + cut.width)
    assert on_axis(10_100, 0, cuts=[cut]) == pytest.approx(300 + cut.width)
    assert find_cuts([(0.0, 10.0), (10.0, 20.0)]) == []
