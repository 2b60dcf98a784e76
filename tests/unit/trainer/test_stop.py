"""Asked to stop: how often ranks agree, and what signals do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.stop import AT_ONCE, Stopped, StopSignal
from trainer.training.pace import Pace, steps_to_agreement

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("agree_steps", "seconds", "steps"),
    [
        (10, 0.01, 10),  # fast steps: as configured
        (10, 0.2, 10),
        (10, 0.5, 4),  # slow ones: every two seconds
        (10, 30.0, 1),  # and at least after each
        (1, 0.001, 1),
        (10, 0.0, 10),
    ],
)
def test_ranks_agree_often_enough_to_stop_in_time(agree_steps: int, seconds: float, steps: int) -> None:
    assert steps_to_agreement(agree_steps, seconds) == steps


def test_the_first_agreement_comes_after_the_first_step_and_the_next_as_planned() -> None:
    pace = Pace(7)
    assert [pace.due(step) for step in (7, 8)] == [False, True]
    pace.agreed(10, 0.5)
    assert [pace.due(step) for step in (8, 9, 11, 12)] == [False, False, False, True]
    assert pace.seconds() >= 0


def test_a_signal_is_remembered_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignal() as stop:
        assert not stop.asked()
        for _ in range(3):  # from a scheduler, from a launcher that was told too
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_who_is_leaving_already_is_not_stopped_in_it() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(Stopped), StopSignal():
            raise Stopped("saved")
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_second_ctrl_c_leaves_at_once() -> None:
    program = (
        "import os, signal\n"
        "from trainer.stop import StopSignal\n"
        "with StopSignal() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(stop.asked(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (AT_ONCE, "True\n")
