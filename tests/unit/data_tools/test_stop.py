"""Stop requests: what signals do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.stop import AT_ONCE, Stopped, StopRequest

ROOT = Path(__file__).parents[3]


def test_a_signal_is_recorded_and_the_handlers_return() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert not stop.received()
        for _ in range(3):  # from a scheduler, from a launcher that received it, too
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_an_inner_context_has_received_what_the_outer_one_had() -> None:
    with StopRequest([signal.SIGTERM]) as outer:
        with StopRequest() as before:
            assert not before.received()
        os.kill(os.getpid(), signal.SIGTERM)
        with StopRequest() as inner, StopRequest([signal.SIGINT]) as other:
            assert inner.received()
            assert not other.received(), "of its own signals"
        assert outer.received()


def test_a_process_that_exits_because_of_a_stop_is_not_stopped_again() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(Stopped), StopRequest():
            raise Stopped("saved")
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_second_ctrl_c_exits_at_once() -> None:
    program = (
        "import os, signal\n"
        "from data_tools.stop import StopRequest\n"
        "with StopRequest() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(stop.received(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (AT_ONCE, "True\n")
