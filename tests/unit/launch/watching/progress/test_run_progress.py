"""What a run prints while it runs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from launch.terminal.page_progress import PageProgress
from launch.watching.progress.pace import JobPace
from launch.watching.progress.run_progress import RunProgress

NOW = 1000.0


def record(time: float, *, epoch: int, step: int) -> dict[str, object]:
    """A job's progress record."""
    return {
        "phase": "training", "epoch": epoch, "epochs": 6, "step": step, "steps": 180, "loss": 0.5,
        "accuracy": 0.875, "pages_per_s": 1210.4, "time": time,
    }  # fmt: skip


class Clock:
    """A clock that stops until it is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time that was set."""
        return self.now


def plain() -> tuple[Console, io.StringIO]:
    """A console that is not a terminal, and what is written to it."""
    out = io.StringIO()
    return Console(file=out, force_terminal=False, width=200, highlight=False), out


def test_a_line_comes_at_an_epochs_end_but_not_too_often() -> None:
    pace = JobPace("top", NOW)
    seconds = []
    for second in range(1, 40):
        pace.take(record(NOW + second, epoch=1 + second // 4, step=second))
        if pace.line(NOW + second):
            seconds.append(second)
    assert seconds == [10, 20, 30]


def test_a_long_epoch_gets_a_line_a_minute() -> None:
    pace = JobPace("top", NOW)
    seconds = [s for s in range(1, 200) if pace.take(record(NOW + s, epoch=1, step=s)) and pace.line(NOW + s)]
    assert seconds == [10, 70, 130, 190]


def test_a_line_shows_the_position_of_the_job() -> None:
    pace = JobPace("top", NOW)
    pace.take(record(NOW + 10, epoch=1, step=30))
    pace.take(record(NOW + 20, epoch=2, step=60) | {"step_s": 0.5})
    assert pace.line(NOW + 20) == (
        "top: training, epoch 2/6, step 60/180, loss 0.500, accuracy 87.5%, 1,210 pages/s, 1 min 00 s left"
    )


def test_records_of_an_earlier_attempt_and_repeated_ones_are_ignored() -> None:
    pace = JobPace("top", NOW, previous=record(NOW - 1, epoch=5, step=150))
    assert not pace.take(record(NOW - 1, epoch=5, step=150))
    assert pace.line(NOW + 100) is None
    assert pace.take(record(NOW + 1, epoch=1, step=1))
    assert not pace.take(record(NOW + 1, epoch=1, step=1))
    assert not pace.take({})


@pytest.mark.parametrize(
    ("figures", "left"),
    [
        ({}, None),  # nothing is measured yet
        ({"step_s": 0.5}, 60.0),
        ({"step_s": 0.5, "epoch_end_s": 4.0}, 60.0 + 5 * 4.0),  # the ends of epochs 2 to 6
        ({"step_s": 0.5, "epoch_end_s": 4.0, "phase": "evaluating"}, 60.0 + 4 * 4.0),
        ({"step_s": 0.5, "epoch_end_s": 4.0, "epoch": 6, "step": 180, "phase": "predicting"}, None),
    ],
)
def test_time_left_counts_steps_and_ends_of_epochs(figures: dict[str, object], left: float | None) -> None:
    pace = JobPace("top", NOW)
    pace.take(record(NOW + 500, epoch=2, step=60) | figures)  # whatever compilation and earlier attempts took
    assert pace.seconds_left() == left


def test_each_part_of_a_start_is_a_line() -> None:
    pace = JobPace("top", NOW)
    lines = []
    for second, doing in enumerate(("importing TensorFlow", "building the network", "building the network", "x")):
        pace.take({"phase": "starting", "step": 0, "doing": doing, "time": NOW + second})
        lines.append(pace.line(NOW + second))
    assert [bool(line) for line in lines] == [True, True, False, True]
    assert lines[1] == "top: starting: building the network"


def test_events_and_epochs_of_a_run_as_plain_lines(tmp_path: Path) -> None:
    console, out = plain()
    clock = Clock(NOW)
    job = tmp_path / "jobs" / "top"
    job.mkdir(parents=True)
    progress = RunProgress(tmp_path, console=console, clock=clock)
    progress.event({"time": NOW, "event": "started", "job": "top", "group": {"n[1]": 2}, "attempt": 1})
    progress.poll()
    clock.now = NOW + 11
    (job / "heartbeat-rank-0.json").write_text(json.dumps(record(NOW + 11, epoch=1, step=30)))
    progress.poll()
    progress.event({"time": NOW + 12, "event": "retried", "job": "top", "attempt": 1, "error": "rank 1 died\nmore"})
    progress.event({"time": NOW + 13, "event": "started", "job": "top", "group": {"n[1]": 2}, "attempt": 2})
    (job / "result.json").write_text(json.dumps({"val_accuracy": 0.9, "test_accuracy": 0.85}))
    progress.event({"time": NOW + 99, "event": "done", "job": "top"})
    progress.event({"time": NOW + 99, "event": "skipped", "job": "stack", "error": "left failed"})
    assert out.getvalue().splitlines() == [
        "top: started on n[1] ×2",
        "top: training, epoch 1/6, step 30/180, loss 0.500, accuracy 87.5%, 1,210 pages/s",
        "top: attempt 1 failed in 12 s (rank 1 died); retrying",
        "top: started on n[1] ×2, attempt 2",
        "top: done in 1 min 26 s (validation 90.0%, test 85.0%)",
        "stack: skipped: left failed",
    ]


def test_the_thread_ends_with_the_context(tmp_path: Path) -> None:
    progress = RunProgress(tmp_path, console=plain()[0])
    with progress:
        assert progress._thread.is_alive()
    assert not progress._thread.is_alive()


def test_pages_as_plain_lines() -> None:
    console, out = plain()
    clock = Clock(0.0)
    with PageProgress("converting", console=console, clock=clock) as progress:
        for second in range(1, 26):
            clock.now = float(second)
            progress(second * 100, 2500, rejected=second // 20)
    assert out.getvalue().splitlines() == [
        "converting: 1,000/2,500 pages, 100 pages/s, 15 s left",
        "converting: 2,000/2,500 pages, 100 pages/s, 5 s left, 1 rejected",
        "converting: 2,500 pages in 25 s (100 pages/s), 1 rejected",
    ]


def test_pages_as_a_bar() -> None:
    out = io.StringIO()
    with PageProgress("drawing", console=Console(file=out, force_terminal=True, width=120, color_system=None)) as pages:
        pages.update(50, 200)
        pages.update(200, 200)
    assert "drawing" in out.getvalue()
    assert "200/200 pages" in out.getvalue()


def test_nothing_to_do_prints_nothing() -> None:
    console, out = plain()
    with PageProgress("converting", console=console):
        pass
    assert out.getvalue() == ""
