"""The report, made from a run folder alone, at any moment of a run."""

import html.parser
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from data_tools.documents.regions import WHOLE_PAGE, Box
from launch.report.figures import busy_seconds, most_at_once
from launch.report.predictions_page import write_predictions_page
from launch.report.report import print_summary, write_report
from launch.report.samples import pick_samples
from launch.report.timeline import find_cuts, on_axis
from tests.unit.launch.run_folder import NAMES, SKILL, START, RunSpec, build
from trainer.scoring.predictions import Predictions, read_predictions

pytestmark = pytest.mark.timeout(240)  # drawing takes seconds, and many of them on a busy machine

HOSTILE = ("<script>alert(1)</script>", 'a "quoted" & <b>name</b>', "$5 bill_{x}")
VOID = {"meta", "img", "br", "link", "input"}


class Balanced(html.parser.HTMLParser):
    """Checks that every tag is closed, in order; gathers ids and what would be loaded from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that opens."""
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self.tags.add(tag)
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost open tag, which must be this one."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:")):
                self.loads.append(value or "")


def checked(path: Path) -> str:
    """The page's text, after checking that it is whole, loads nothing, and runs nothing."""
    text = path.read_text()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert parser.loads == []
    assert "script" not in parser.tags
    assert not re.search(r"url\((?!#)", text)
    return text


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


def test_the_report_shows_every_model_and_class(full: Path) -> None:
    text = checked(full / "report.html")
    data = metrics(full)
    for name in SKILL:
        assert f"<td>{name}</td>" in text
        assert f"{data['models'][name]['test']['accuracy']:.1%}" in text
    for name in NAMES:
        assert text.count(name) > 5
    for section in (
        "accuracy",
        "confusion",
        "classes",
        "curves",
        "timeline",
        "pages",
        "transfers",
        "versions",
    ):
        assert f'id="{section}"' in text


def test_metrics_hold_what_the_predictions_say(full: Path) -> None:
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


def test_pictures_stand_beside_the_report(full: Path) -> None:
    names = {path.name for path in (full / "pictures").iterdir()}
    assert names == {
        "accuracy.png", "classes.png", "confusion-holistic_256.png", "confusion-stack.png", "curves.png",
        "timeline.png",
    }  # fmt: skip
    assert all((full / "pictures" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_transfers_are_compared_with_what_the_source_recorded(full: Path) -> None:
    found = {row["job"]: (row["from"], row["matches"]) for row in metrics(full)["transfers"]}
    assert found["holistic_256"] == ("holistic_128", True)
    assert found["left"] == ("holistic_256", True)
    assert found["holistic_128"] == (None, None)


def test_the_shared_validation_set_is_told(full: Path) -> None:
    assert any("same validation pages" in line for line in metrics(full)["warnings"])


def test_the_summary_on_a_terminal(full: Path) -> None:
    out = io.StringIO()
    print_summary(full, Console(file=out, width=160))
    data = metrics(full)
    for name, model in data["models"].items():
        assert re.search(rf"{name} .*{model['test']['accuracy']:.1%}", out.getvalue())
    assert "stack − holistic_256 on 320 test pages" in out.getvalue()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take most of a report's time."""
    monkeypatch.setattr("launch.report.report.draw_pictures", lambda *_, **__: {})


def small(run: Path, **more: Any) -> Path:
    """A run of three classes and few pages, with its report."""
    build(run, RunSpec(classes=3, pages=30, **more))
    return write_report(run, now=START + 600)


def test_names_are_escaped(tmp_path: Path) -> None:
    text = checked(small(tmp_path / "<i>run", names=HOSTILE))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "$5 bill_{x}" in text
    assert "<i>run" not in text


def test_a_run_with_one_finished_job(tmp_path: Path) -> None:
    text = checked(small(tmp_path / "run", done=("holistic_128",), running=("holistic_256",)))
    data = metrics(tmp_path / "run")
    assert data["models"]["holistic_128"]["state"] == "done"
    assert data["models"]["top"]["state"] == "waiting"
    assert data["comparison"] is None
    assert "holistic_256, top, bottom, left, right, stack still to come" in text
    assert any("no sign of life" in line for line in data["warnings"])


@pytest.mark.usefixtures("undrawn")
def test_a_run_with_a_failed_job(tmp_path: Path) -> None:
    done = ("holistic_128", "holistic_256", "top", "left", "right")
    text = checked(small(tmp_path / "run", done=done, failed=("bottom",)))
    assert "bottom failed: rank 0 on node1: ValueError: loss is &lt;nan&gt; &amp; not finite" in text
    assert metrics(tmp_path / "run")["headline"]["jobs_failed"] == ["bottom"]


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    text = checked(small(tmp_path / "run", done=()))
    assert "0 of 7" in text
    assert list((tmp_path / "run").glob("pictures/*")) == []


@pytest.mark.usefixtures("undrawn")
def test_figures_that_do_not_agree_and_broken_files_are_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    build(run, RunSpec(classes=3, pages=30, done=("holistic_128", "holistic_256")))
    result = run / "jobs" / "holistic_256" / "result.json"
    changed = json.loads(result.read_text()) | {"test_accuracy": 0.123}
    changed["start"]["digest"] = "another"
    result.write_text(json.dumps(changed))
    (run / "jobs" / "holistic_128" / "predictions" / "val.npz").write_bytes(b"no archive")
    checked(write_report(run, now=START + 600))
    told = "\n".join(metrics(run)["warnings"])
    assert "holistic_256: it recorded a test accuracy of 0.1230" in told
    assert "holistic_256 did not start from the weights that holistic_128 recorded" in told
    assert "val.npz: not a whole predictions file" in told


@pytest.mark.usefixtures("undrawn")
def test_a_loss_that_is_not_a_number_stays_out_of_the_json(tmp_path: Path) -> None:
    run = build(tmp_path / "run", RunSpec(classes=3, pages=30, done=("holistic_128",)))
    with (run / "jobs" / "holistic_128" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "train_loss": NaN, "val_loss": Infinity}\n')
    checked(write_report(run, now=START + 600))
    data = metrics(run)
    assert data["models"]["holistic_128"]["epochs"][-1] == {"epoch": 7, "train_loss": None, "val_loss": None}
    assert "holistic_128: a training loss was not a number." in data["warnings"]


@pytest.mark.usefixtures("undrawn")
def test_a_copied_run_makes_the_same_report(tmp_path: Path) -> None:
    first = small(tmp_path / "a" / "run", done=("holistic_128",)).read_text()
    shutil.copytree(tmp_path / "a" / "run", tmp_path / "b" / "run")
    again = write_report(tmp_path / "b" / "run", now=START + 600).read_text()
    assert again == first


def test_samples_are_of_three_kinds_and_of_many_classes() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2], np.int32)
    ids = np.array([f"p{i}" for i in range(6)])

    def table(predicted: list[int], sure: list[float]) -> Predictions:
        softmax = np.full((6, 3), 0.1, np.float32)
        softmax[np.arange(6), predicted] = sure
        return Predictions(ids, labels, softmax, np.arange(3, dtype=np.int64))

    sure = [0.9, 0.8, 0.7, 0.6, 0.95, 0.5]
    tables = {"stack": table([0, 0, 1, 1, 0, 1], sure), "h": table([0, 1, 1, 0, 2, 2], sure)}
    found = [(s["kind"], s["id"]) for s in pick_samples(tables, final="stack", reference="h", each=2)]
    assert found == [
        ("mended", "p1"),
        ("mended", "p3"),
        ("wrong", "p4"),
        ("wrong", "p5"),
        ("right", "p0"),
        ("right", "p2"),
    ]
    alone = pick_samples({"h": tables["h"]}, final="h", reference=None, each=9)
    assert [s["kind"] for s in alone] == ["wrong"] * 2 + ["right"] * 4
    assert alone[0]["models"]["h"][0] == (1, pytest.approx(0.8))


def test_busy_time_and_jobs_at_once() -> None:
    assert busy_seconds([]) == 0
    assert busy_seconds([(0, 10), (5, 8), (20, 30), (30, 35)]) == 25
    assert most_at_once([(0, 10), (10, 20)]) == 1
    assert most_at_once([(0, 10), (5, 8), (6, 9), (20, 30)]) == 3
    assert most_at_once([]) == 0


def test_idle_stretches_of_a_resumed_run_are_cut_out() -> None:
    spans = [(0.0, 100.0), (105.0, 200.0), (10_000.0, 10_100.0)]
    (cut,) = find_cuts(spans)
    assert (cut.start, cut.seconds) == (200, 9800)
    assert on_axis(105, 0, cuts=[cut]) == 105
    assert on_axis(10_000, 0, cuts=[cut]) == pytest.approx(200 + cut.width)
    assert on_axis(10_100, 0, cuts=[cut]) == pytest.approx(300 + cut.width)
    assert find_cuts([(0.0, 10.0), (10.0, 20.0)]) == []


def test_predictions_of_single_pages(tmp_path: Path) -> None:
    images = {"a<b>.tif": np.full((60, 40), 200, np.uint8), "c.tif": np.zeros((1000, 800, 1), np.uint8)}
    softmax = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]], np.float32)
    boxes = {"holistic": WHOLE_PAGE, "top": Box(0, 0, 1, 0.5)}
    path = write_predictions_page(
        tmp_path / "out.html",
        images=images,
        outputs={"stack": softmax, "top": softmax[::-1]},
        class_names=HOSTILE,
        boxes=boxes,
    )
    text = checked(path)
    assert "a&lt;b&gt;.tif" in text
    assert text.count('class="box"') == 2
    assert text.index('<div class="who">top') < text.index('<div class="who">stack')
    assert re.findall(r"<b>(.*?)</b> \((.*?), stack\)", text)[1][1] == "60.0%"
