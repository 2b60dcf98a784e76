"""The picture of a run: the same bytes for the same run, in every state, and nothing written on an error."""

import shutil
from pathlib import Path

import pytest

from launch.cli import main
from launch.report.sections.summary_picture import write_picture
from tests.unit.launch.run_folder import RunSpec, build

pytestmark = pytest.mark.timeout(240)  # drawing takes seconds, more on a busy machine

PNG = b"\x89PNG"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = build(tmp_path / "here" / "run", RunSpec(classes=4, pages=60))
    write_picture(run, tmp_path / "one.png")
    shutil.copytree(run, tmp_path / "there" / "run")
    before = sorted(path for path in run.rglob("*"))
    assert main(["report", str(tmp_path / "there" / "run"), "--png", str(tmp_path / "two.png")]) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)
    assert sorted(path for path in run.rglob("*")) == before


@pytest.mark.parametrize("spec", [RunSpec(done=(), pages=40), RunSpec(done=("holistic_128",), classes=3, pages=40)])
def test_a_run_that_is_not_finished(spec: RunSpec, tmp_path: Path) -> None:
    write_picture(build(tmp_path / "run", spec), tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_errors_leave_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build(tmp_path / "run", RunSpec(done=("holistic_128",), pages=40))
    assert main(["report", str(tmp_path), "--png", str(tmp_path / "one.png")]) == 2
    assert main(["report", str(run), "--png", str(tmp_path / "one.png"), "--out", str(tmp_path / "out")]) == 2
    assert main(["report", str(run), "--png", str(tmp_path / "one.png"), "--precision", "0.9"]) == 2
    assert not (tmp_path / "one.png").exists()
    assert len(capsys.readouterr().err.strip().splitlines()) == 3
