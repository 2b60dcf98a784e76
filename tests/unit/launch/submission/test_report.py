"""The report of a submitted run goes to what its path leads to."""

from pathlib import Path
from typing import Any

import pytest

from launch.submission.parcel import Parcel
from launch.submission.submit import fetch_report

PARCEL = Parcel("name", "runs/name", "shards", {})


class Head:
    """A launcher that copies as rsync does: it replaces the target. None: the run has no report yet."""

    def __init__(self, report: str | None) -> None:
        self.report = report

    def call(self, action: str, arguments: Any) -> dict[str, Any]:
        return {"shared": "/shared"}

    def fetch(self, source: str, target: str) -> None:
        assert source == "/shared/runs/name/report.html"
        if self.report is not None:
            Path(target).unlink(missing_ok=True)
            Path(target).write_text(self.report)


def test_a_link_stays(tmp_path: Path) -> None:
    link = tmp_path / "link.html"
    link.symlink_to("report.html")
    fetch_report(Head("<html>"), PARCEL, link)  # type: ignore[arg-type]
    assert link.is_symlink()
    assert (tmp_path / "report.html").read_text() == "<html>"


def test_a_run_without_a_report_leaves_the_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.html").write_text("old")
    fetch_report(Head(None), PARCEL, tmp_path / "report.html")  # type: ignore[arg-type]
    assert (tmp_path / "report.html").read_text() == "old"
    assert "runs/name" in capsys.readouterr().err
