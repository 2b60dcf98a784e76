"""`regionstack distill` on a finished tiny run: killed and resumed, under Ray and under horovodrun, then in use."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import horovodrun, regionstack
from tests.helpers.faults import FIRED, PLAN_FILE, Fault
from trainer.scoring.decision import calibrate, read_policy
from trainer.scoring.predictions import read_predictions
from trainer.soft_targets.config import DISTILLED, TEACHER

OPTIONS = ["--epochs", "2", "--alpha", "0.6", "--set", "checkpoint.every_steps=2", "--set", "checkpoint.agree_steps=1"]
UNLABELLED = 30


@pytest.fixture(scope="module")
def wild(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pages under new names, a broken one, and a file that is no page."""
    folder = tmp_path_factory.mktemp("wild")
    pages = sorted((tiny.parent / "pages" / "images" / "train").rglob("*.tif"))[:UNLABELLED]
    for number, page in enumerate(pages):
        (folder / f"part{number % 2}").mkdir(exist_ok=True)
        shutil.copy(page, folder / f"part{number % 2}" / f"{number}.tif")
    (folder / "broken.tif").write_bytes(b"II*\0 no page")
    (folder / "notes.txt").write_text("no page")
    return folder


@pytest.fixture(scope="module")
def student(finished: Path, wild: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run with a student, whose first attempt was killed after its third step."""
    run = tmp_path_factory.mktemp("distilled") / "run"
    shutil.copytree(finished, run)
    (run / PLAN_FILE).write_text(json.dumps([asdict(Fault(job=DISTILLED, step=3, action="kill"))]))
    output = regionstack("distill", str(run), "--pool", str(wild), *OPTIONS)
    (run.parent / "output.txt").write_text(output)
    return run


def result_of(run: Path, job: str = DISTILLED) -> dict[str, object]:
    return dict(json.loads((run / "jobs" / job / "result.json").read_text()))


def test_the_student_learns_from_every_page_and_is_reported_beside_the_stack(student: Path) -> None:
    result, teacher = result_of(student), result_of(student, TEACHER)
    assert (teacher["pages"], teacher["unlabelled"]) == (96 + UNLABELLED, UNLABELLED)
    distilled = result["distilled"]
    assert isinstance(distilled, dict)
    assert distilled["pages"] == 96 + UNLABELLED
    assert [row["against"] for row in distilled["paired"]] == ["holistic_32px", "stack"]
    assert result["start"]["from"] == "holistic_32px"  # type: ignore[index]
    output = (student.parent / "output.txt").read_text()
    assert "1 rejected" in output, "a page that cannot be read is counted"
    assert "1 file left out" in output, "a file that is no page is counted"
    metrics = json.loads((student / "metrics.json").read_text())
    assert metrics["distilled"]["kept"] == distilled["kept"]
    assert metrics["comparison"]["second"] == "holistic_32px", "the stack is still compared with its own member"
    assert "distilled" in regionstack("status", str(student))
    assert "distilled" in regionstack("evaluate", str(student)), "evaluate has a row for the student"


def test_the_teachers_answers_are_those_of_the_stack_by_page_id(student: Path) -> None:
    rows = read_predictions(student / "jobs" / TEACHER / "predictions" / "train.npz")
    assert len(set(rows.ids.tolist())) == 96
    policy = read_policy(student)
    assert policy is not None
    targets = np.load(student / "jobs" / TEACHER / "targets.npy")
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-4)
    expected = calibrate(policy, {"stack": rows.softmax})["stack"]
    np.testing.assert_allclose(np.sort(targets[:96].max(axis=1)), np.sort(expected.max(axis=1)), atol=1e-5)


def test_a_killed_student_ends_with_the_weights_of_one_that_was_not_and_horovodrun_gives_the_same(
    student: Path, finished: Path, wild: Path, tmp_path: Path
) -> None:
    assert (student / "jobs" / DISTILLED / FIRED).exists()
    other = tmp_path / "run"
    shutil.copytree(finished, other)
    horovodrun(2, "launch/distill.py", str(other), "--pool", str(wild), *OPTIONS)
    assert result_of(other)["weights_digest"] == result_of(student)["weights_digest"]
    assert result_of(other)["attempt"] == 1
    again = regionstack("distill", str(other), "--pool", str(wild), *OPTIONS)
    assert "nothing to do" in again


def test_the_export_reproduces_the_students_recorded_predictions(student: Path, tmp_path: Path) -> None:
    regionstack("export", str(student), "--model", DISTILLED, "--to", str(tmp_path / "model"))
    described = json.loads((tmp_path / "model" / "export.json").read_text())
    assert described["checked"]["pages"] == 32
    assert described["checked"]["top1_equal"] == {DISTILLED: 32}
    policy = read_policy(student, DISTILLED)
    assert policy is not None
    assert described["temperatures"] == policy.temperatures


def test_predict_answers_with_the_student_alone(student: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    regionstack("predict", str(student), str(tiny.parent / "pages" / "images" / "test"), "--model", DISTILLED,
                "--all", "--jsonl", str(out))  # fmt: skip
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(answers) == 32
    policy, rows = (
        read_policy(student, DISTILLED),
        read_predictions(student / "jobs" / DISTILLED / "predictions" / "test.npz"),
    )
    assert policy is not None
    expected = dict(zip(rows.ids.tolist(), calibrate(policy, {DISTILLED: rows.softmax})[DISTILLED], strict=True))
    for answer in answers:
        assert answer["members"] == {}
        assert list(answer["probabilities"]) == [DISTILLED]
        own = expected[str(Path(answer["source"]).relative_to(tiny.parent / "pages"))]
        np.testing.assert_allclose(list(answer["probabilities"][DISTILLED].values()), own, atol=1e-4)
        assert answer["decision"] in ("accepted", "review", "unknown")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--temperature", "3"], "temperature"),
        (["--temperature", "-1"], "temperature"),
        (["--set", "model.dropout=0.1"], "model.dropout"),
        (["--set", "distill.start=nothing"], "nothing"),
        (["--pool", "/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_one_line(student: Path, wild: Path, arguments: list[str], named: str) -> None:
    pool = [] if "--pool" in arguments else ["--pool", str(wild)]
    output = regionstack("distill", str(student), *pool, *OPTIONS, *arguments, status=2)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert named in line
    assert "Traceback" not in output
