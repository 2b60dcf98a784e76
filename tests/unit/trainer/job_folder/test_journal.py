"""The log and the metrics of a running job, also on a full disk."""

import contextlib
import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.files import read_json, read_lines
from data_tools.protocol import heartbeat_path
from trainer.job_folder.heartbeat import Heartbeat
from trainer.job_folder.journal import METRICS, Journal, log_to

logger = logging.getLogger("trainer.test")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Context in which no write of this process can extend a file; that includes pytest's output."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_log_is_in_the_job_folder_and_contains_the_error(tmp_path: Path) -> None:
    handlers = list(logging.getLogger().handlers)
    with pytest.raises(UserError, match="fix this"), log_to(tmp_path / "job", rank=1):
        logger.info("at work")
        raise UserError("fix this")
    text = (tmp_path / "job" / "log-rank-001.txt").read_text()
    assert "rank 1 INFO at work" in text
    assert "rank 1 ERROR fix this" in text
    assert logging.getLogger().handlers == handlers


def test_a_full_disk_within_a_job_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no space left on device.*make room"), log_to(tmp_path, rank=0):
        raise OSError(28, "No space left on device", "/run/file")
    with pytest.raises(ConnectionError), log_to(tmp_path, rank=0):
        raise ConnectionError("not about a file")


def test_a_log_on_a_full_disk_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with full_disk(), log_to(tmp_path, rank=0):
        logger.info("one")
        logger.info("two")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"{tmp_path}/log.txt: the log cannot be written" in lines[0]


def test_only_rank_0_reports_and_metrics_are_complete(tmp_path: Path) -> None:
    rows = [{"epoch": 1}, {"epoch": 2}]
    other = Journal(tmp_path, rank=1, fixed={}, heartbeat=Heartbeat(tmp_path, rank=1))
    other.epoch(rows[0])
    other.progress("training", step=3)
    assert list(tmp_path.iterdir()) == []
    heartbeat = Heartbeat(tmp_path, rank=0)
    journal = Journal(tmp_path, rank=0, fixed={"job": "top"}, heartbeat=heartbeat)
    journal.rewrite(rows[:1])
    journal.epoch(rows[1])
    assert read_lines(tmp_path / METRICS) == rows
    journal.progress("training", step=3, loss=0.5)
    heartbeat.write()
    assert {"job": "top", "phase": "training", "step": 3, "loss": 0.5}.items() <= read_json(
        heartbeat_path(tmp_path, 0)
    ).items()
