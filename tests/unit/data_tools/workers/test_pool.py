"""Worker processes: what they report of items while tasks change hands."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import UserError
from data_tools.workers.pool import Pool

_TARGET = """
import os

def open_worker(setup):
    def handler(count, items):
        for item in range(count):
            items.begin(item)
            items.end()
        return os.getpid()
    return handler
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "counting_items.py").write_text(_TARGET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "counting_items:open_worker"


def test_a_new_task_does_not_count_what_its_worker_did_before(target: str) -> None:
    with Pool(target, None, workers=1, item_timeout_s=60) as pool:
        pool.submit(5)
        pool.submit(7)
        results = pool.results()
        count, worker = _next_answer(results)
        assert (count, pool.items_at_work()) == (5, 0)
        os.kill(worker, signal.SIGSTOP)  # It has no chance to begin the task that it is handed now.
        try:
            assert next(results) is None
            assert pool.items_at_work() == 0
        finally:
            os.kill(worker, signal.SIGCONT)
        assert _next_answer(results) == (7, worker)


def test_reading_the_workers_errors_does_not_move_where_they_write() -> None:
    with Pool("nothing_here:open_worker", None, workers=2, item_timeout_s=60) as pool:
        os.write(pool._errors.fileno(), b"the first line\n" * 3)
        place = os.lseek(pool._errors.fileno(), 0, os.SEEK_CUR)
        assert pool._last_error() == "the first line"
        assert os.lseek(pool._errors.fileno(), 0, os.SEEK_CUR) == place
        pool.submit(1)
        with pytest.raises(UserError, match="cannot start: ModuleNotFoundError: No module named 'nothing_here'"):
            list(pool.results())


def test_workers_need_no_folder_for_temporary_files(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", none)
    with Pool(target, None, workers=1, item_timeout_s=60) as pool:
        pool.submit(5)
        assert _next_answer(pool.results())[0] == 5


def _next_answer(results: Any) -> tuple[Any, Any]:
    return next(result for result in results if result is not None)
