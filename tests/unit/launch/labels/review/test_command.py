"""`regionstack labels` with a review: an earlier ranking is good enough, and options are checked."""

from pathlib import Path

import pytest

from launch.cli import main
from tests.unit.launch.labels.review.ranked import make_run


def test_a_review_continues_with_the_ranking_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    assert main(["labels", str(run), "--html", str(tmp_path / "review.html")]) == 0
    said = capsys.readouterr()
    assert "ranking of 1970" in said.err
    assert "1 of 4 pages can no longer be read" in said.err
    assert (tmp_path / "review.html").read_text().startswith("<!doctype html>")


def test_a_review_on_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["labels", str(make_run(tmp_path)), "--html", "-", "--most", "2"]) == 0
    assert capfd.readouterr().out.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "options",
    [
        ["--most", "0", "--html", "a.html"],
        ["--serve", "--port", "99999"],
        ["--serve", "--host", "0.0.0.0"],
        ["--serve", "--token-file", "absent"],
        ["--serve", "--decisions", "."],
        ["--html", "."],
    ],
)
def test_options_that_cannot_be_used(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["labels", str(make_run(tmp_path)), *options]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_ranking_of_another_pool_is_not_reviewed(tmp_path: Path) -> None:
    run = make_run(tmp_path, pool=True)
    (tmp_path / "other").mkdir()
    assert main(["labels", str(run), "--pool", str(tmp_path / "other"), "--html", str(tmp_path / "a.html")]) == 2
    assert not (tmp_path / "a.html").exists()
    assert main(["labels", str(run), "--pool", str(tmp_path / "pages"), "--html", str(tmp_path / "a.html")]) == 0
