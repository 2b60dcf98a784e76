"""`regionstack labels` with a review: an earlier ranking is good enough, and options are checked."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from launch.cli import main
from launch.commands import labels as command
from launch.terminal.console import print_out
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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--html", "."], "is a directory"),
        (["--html", "file/a.html"], "file"),
        (["--serve", "--port", "99999"], "--port"),
        (["--serve", "--host", "0.0.0.0"], "--host 0.0.0.0"),
        (["--serve", "--host", "192.0.2.1"], "192.0.2.1"),
        (["--serve", "--token-file", "absent"], "--token-file absent"),
        (["--serve", "--decisions", "."], "is a directory"),
    ],
)
def test_options_are_checked_before_a_ranking_is_made(
    options: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_make", made := Made())
    run = make_run(tmp_path)
    (run / "labels" / "summary.json").unlink()
    Path("file").write_text("")
    assert main(["labels", str(run), *options]) == 2
    assert named in capsys.readouterr().err.lower()
    assert made.calls == 0


@dataclass
class Made:
    """In place of what makes a ranking: prints a line, and fails."""

    calls: int = 0

    def __call__(self, options: object) -> int:
        self.calls += 1
        print_out("a table")
        return 2


def test_standard_output_holds_the_page_alone_while_a_ranking_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_make", Made())
    run = make_run(tmp_path)
    (run / "labels" / "summary.json").unlink()
    assert main(["labels", str(run), "--html", "-"]) == 2
    printed = capfd.readouterr()
    assert (printed.out, "a table" in printed.err) == ("", True)


@pytest.mark.parametrize("content", ["", "{}", "null\n", "[]\n", "half", None])
def test_a_damaged_ranking_is_made_anew_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    monkeypatch.setattr(command, "_make", made := Made())
    run = make_run(tmp_path)
    path = run / "labels" / "ranking.jsonl"
    if content is None:
        path.unlink()
    else:
        whole = path.read_text()
        path.write_text(whole[: len(whole) // 2] if content == "half" else content)
    assert main(["labels", str(run), "--html", str(tmp_path / "a.html"), "--most", "1"]) == 2
    assert f"making the ranking anew: {path}: corrupt" in capsys.readouterr().err
    assert made.calls == 1


def test_a_ranking_of_another_pool_is_not_reviewed(tmp_path: Path) -> None:
    run = make_run(tmp_path, pool=True)
    (tmp_path / "other").mkdir()
    assert main(["labels", str(run), "--pool", str(tmp_path / "other"), "--html", str(tmp_path / "a.html")]) == 2
    assert not (tmp_path / "a.html").exists()
    assert main(["labels", str(run), "--pool", str(tmp_path / "pages"), "--html", str(tmp_path / "a.html")]) == 0
