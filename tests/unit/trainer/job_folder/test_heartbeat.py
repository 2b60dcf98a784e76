"""A rank's sign of life: what it says, and that it continues while the rank itself is blocked."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import Stopped
from data_tools.files import read_json
from data_tools.protocol import heartbeat_path
from trainer.job_folder.heartbeat import Heartbeat


def beat_where(folder: Path, condition: Callable[[dict[str, Any]], bool], rank: int = 0) -> dict[str, Any]:
    """The first heartbeat read that fulfils `condition`; every one that is read must be whole."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        beat: dict[str, Any] = read_json(heartbeat_path(folder, rank))
        if condition(beat):
            return beat
        time.sleep(0.002)
    raise AssertionError(f"no such heartbeat; the last one: {beat}")


def test_an_attempt_is_recorded_as_soon_as_it_starts(tmp_path: Path) -> None:
    """A process that is killed before its next heartbeat must not pass its number on to the next attempt."""
    with Heartbeat(tmp_path, rank=0, every_s=60.0, pulse_s=60.0) as heartbeat:
        heartbeat.start_attempt(3)
        assert read_json(heartbeat_path(tmp_path, 0))["attempt"] == 3


def test_it_says_who_where_and_what(tmp_path: Path) -> None:
    with Heartbeat(tmp_path / "job", rank=3, every_s=0.005, pulse_s=0.005) as heartbeat:
        beat = beat_where(tmp_path / "job", lambda beat: True, rank=3)
        assert (beat["rank"], beat["pid"], beat["phase"], beat["step"]) == (3, os.getpid(), "starting", 0)
        heartbeat.attempt = 2
        heartbeat.at("training", step=7)
        beat = beat_where(tmp_path / "job", lambda beat: beat["step"] == 7, rank=3)
        assert (beat["attempt"], beat["phase"], beat["batch"]) == (2, "training", 0)
        assert beat["waiting"] is False
        heartbeat.waiting = True
        beat_where(tmp_path / "job", lambda beat: beat["waiting"], rank=3)
        heartbeat.at("evaluating", batch=4)
        beat = beat_where(tmp_path / "job", lambda beat: beat["phase"] == "evaluating", rank=3)
        assert (beat["step"], beat["batch"], beat["waiting"]) == (7, 4, False), (
            "the step stays until another is reported"
        )


def test_a_rank_that_is_held_up_still_writes_and_says_for_how_long(tmp_path: Path) -> None:
    released = threading.Event()

    def rank() -> None:
        with Heartbeat(tmp_path, rank=0, every_s=0.005, pulse_s=0.005) as heartbeat:
            heartbeat.at("training", step=5)
            released.wait(60)

    held_up = threading.Thread(target=rank)
    held_up.start()
    try:
        while not heartbeat_path(tmp_path, 0).exists():
            time.sleep(0.002)
        first = beat_where(tmp_path, lambda beat: beat["step"] == 5)
        later = beat_where(tmp_path, lambda beat: beat["still_s"] > first["still_s"] + 0.05)
    finally:
        released.set()
        held_up.join()
    assert later["time"] > first["time"]
    assert (later["step"], later["step_time"]) == (first["step"], first["step_time"])


def test_a_clock_that_jumps_does_not_move_how_long_it_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = Heartbeat(tmp_path, rank=0)
    heartbeat.at("training", step=1)
    now = time.time()
    monkeypatch.setattr("trainer.job_folder.heartbeat.time.time", lambda: now - 86_400)
    heartbeat.write()
    beat = read_json(heartbeat_path(tmp_path, 0))
    assert beat["time"] < beat["step_time"]
    assert 0 <= beat["still_s"] < 3600


@pytest.mark.parametrize(("error", "phase"), [(Stopped("saved"), "stopped"), (RuntimeError("no"), "failed")])
def test_the_last_one_says_how_it_ended(tmp_path: Path, error: Exception, phase: str) -> None:
    with pytest.raises(type(error)), Heartbeat(tmp_path, rank=0) as heartbeat:
        heartbeat.at("training", step=2)
        raise error
    beat = read_json(heartbeat_path(tmp_path, 0))
    assert (beat["phase"], beat["step"]) == (phase, 2)


def test_a_heartbeat_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Heartbeat(tmp_path, rank=0, every_s=60) as heartbeat:
        heartbeat_path(tmp_path, 0).unlink()
        heartbeat_path(tmp_path, 0).mkdir()
        heartbeat.write()
        heartbeat.write()
        assert len(caplog.messages) == 1
        assert "heartbeat cannot be written" in caplog.messages[0]
        heartbeat_path(tmp_path, 0).rmdir()
        heartbeat.write()
        assert read_json(heartbeat_path(tmp_path, 0))["phase"] == "starting"


def test_a_rank_with_nothing_new_writes_at_the_pulse_alone(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, rank=1, world_size=512)
    assert heartbeat.write_if_due(0.0)
    assert not heartbeat.write_if_due(31.0), "nothing new, and the pulse of 512 ranks is 32 s"
    assert heartbeat.write_if_due(32.0)
    heartbeat.waiting = True
    assert heartbeat.write_if_due(33.0), "news is not held back for the pulse"
    heartbeat.report("training", {"loss": 0.5})
    assert heartbeat.write_if_due(34.0)
