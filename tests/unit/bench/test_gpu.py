"""What bench/gpu.py makes of its rows: failures, comparisons, mistakes of the user. Starts nothing that it measures."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import gpu, gpu_row

OUT_OF_MEMORY = """\
Traceback (most recent call last):
tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:

OOM when allocating tensor with shape[512,35,35,256] and type float on GPU:0 by allocator GPU_0_bfc
\t [[{{node StatefulPartitionedCall}}]]
Hint: If you want to see a list of allocated tensors when OOM happens, add report_tensor_allocations_upon_oom.
 [Op:__inference__step_14]
"""


def result(by: str, px: int, pages_per_s: float | None, **other: Any) -> dict[str, Any]:
    measured = {"error": "out of memory"} if pages_per_s is None else {"pages_per_s": pages_per_s}
    return {"by": by, "px": px, **measured, **other}


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (OUT_OF_MEMORY, "out of memory"),
        ("Traceback:\nValueError: no | such\nnote", "ValueError: no / such"),
        ("a\nb\n", "status 1: b"),
        ("", "status 1: no output"),
    ],
)
def test_a_failed_row_says_why_in_one_cell(output: str, error: str) -> None:
    assert gpu.reason(1, output) == error


def test_a_killed_row_names_the_signal() -> None:
    assert gpu.reason(-9, "") == "killed by signal 9"


def test_the_figure_compares_rows_of_one_size() -> None:
    ours, fit = result("regionstack", 256, 400.0), result("keras fit", 256, None)
    small = [result("regionstack", 128, 1500.0), result("keras fit", 128, 1000.0)]
    assert gpu.speed_up([ours, fit]) is None
    assert gpu.speed_up([ours, fit, *small]) == 1.5
    assert gpu.speed_up([ours, result("keras fit", 256, 500.0), *small]) == 0.8


@pytest.mark.parametrize("budget", ["0", "-5", "nan", "inf", "soon"])
def test_a_budget_is_a_time(budget: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--budget", budget])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert f"--budget: expected seconds, more than 0, found {budget!r}" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_found_before_any_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for out in (tmp_path, tmp_path / "missing" / "gpu.md"):
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            gpu.main()
        assert ended.value.code == 2
        assert f"--out: {out}: " in capsys.readouterr().err


def test_without_a_gpu_no_row_of_the_large_network_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def child(what: str, folder: str, **request: Any) -> dict[str, Any]:
        assert what == "checks"
        return {gpu_row.GPUS: 0, "passed": False}

    monkeypatch.setattr(gpu, "child", child)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    assert capsys.readouterr().err == "error: TensorFlow finds no GPU here; --tiny tries the bench on any machine\n"


def test_an_interrupted_bench_reports_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([{gpu_row.GPUS: 1, "passed": True}, {"pages_per_s": 400.0}])

    def child(what: str, folder: str, **request: Any) -> dict[str, Any]:
        if (answer := next(answers, None)) is not None:
            return answer
        signal.raise_signal(signal.SIGTERM)
        return {}

    monkeypatch.setattr(gpu, "child", child)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "gpu.md")])
    assert gpu.main() == gpu.INTERRUPTED
    *_, rate, last = capsys.readouterr().out.splitlines()
    assert rate.endswith("--rate 400@256")
    assert '"rows": 1' in last
    assert "400.0" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize("problem", [FileNotFoundError("horovodrun"), gpu_row.subprocess.TimeoutExpired("x", 120)])
def test_a_world_that_cannot_start_fails_its_check_alone(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(gpu_row.subprocess, "run", run)
    assert gpu_row.world_of(2) is False
