"""The request to stop a run, and what a worker reports about it."""

import os
import signal

import pytest

from cluster.liveness import worker
from cluster.liveness.watch import Hang
from cluster.on_ray.reports import Gatherer
from cluster.schedule.failures import first_failure
from data_tools.errors import NumericError, Stopped, UserError
from launch.run.stop import stop_request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_requests_a_stop_and_the_second_interrupts(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    # Tests that run under nohup have SIGHUP ignored, which is to stay so (the next test).
    outside = signal.signal(number, signal.default_int_handler)
    try:
        with stop_request(timeout_s=120) as request:
            assert not request.received()
            os.kill(os.getpid(), number)
            assert request.received()
            assert f"{number.name}: running jobs save and exit within 120 s" in capsys.readouterr().err
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, outside)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_request(timeout_s=1) as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not request.received(), "as under nohup"
    finally:
        signal.signal(signal.SIGHUP, before)


def stops(payload: dict[str, object]) -> None:
    raise Stopped("stopped at step 7, saved")


def not_finite(payload: dict[str, object]) -> None:
    raise NumericError("step 7: the gradients are not finite")


def user(payload: dict[str, object]) -> None:
    raise UserError("labels.txt:3: malformed")


def bug(payload: dict[str, object]) -> None:
    raise ValueError("no")


def ends(payload: dict[str, object]) -> None:
    raise SystemExit(3)


# target -> kind, message, whether there is a traceback
REPORTS = [
    ("stops", "stopped", "stopped at step 7, saved", False),
    ("not_finite", "raised", "step 7: the gradients are not finite", False),
    ("user", "user", "labels.txt:3: malformed", False),
    ("bug", "raised", "ValueError: no", True),
    ("ends", "raised", "SystemExit: 3", True),
]


@pytest.mark.parametrize(("target", "kind", "message", "traceback"), REPORTS)
def test_reports(target: str, kind: str, message: str, traceback: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_RANK", "0")
    failure = worker.call(f"{__name__}:{target}", {})["failure"]
    assert (failure["kind"], failure["message"]) == (kind, message)
    assert (failure["traceback"] is not None) == traceback


def test_the_rank_that_all_others_missed_is_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Horovod's stall check ends the collectives of the ranks that wait; the one that they wait for says nothing."""
    monkeypatch.setenv("HOROVOD_RANK", "0")
    lost = {**worker.call(f"{__name__}:bug", {})["failure"], "lost_peer": True, "message": "another rank is gone"}
    hang = Hang(1, "it hangs: in training, step 7 for 301 s, silent for 300 s")
    gatherer = Gatherer(["a", "b", "c"], "/run/jobs/top", look=lambda: None, suspect=lambda ranks: hang)
    failures = [gatherer.failure(rank, {"failure": lost}) for rank in (0, 2)]
    failure = first_failure([*gatherer.missed(failures, [1]), *failures])
    assert (failure.kind, failure.rank, failure.host) == ("hung", 1, "b")
    assert failure.log == "/run/jobs/top/rank-1.txt"
    assert failure.also == ("ranks 0, 2: lost the connection after that",)
    assert gatherer.missed(failures, []) == [], "all have said something"
    nobody = Gatherer(["a", "b", "c"], None, look=lambda: None)
    assert nobody.missed(failures, [1]) == [], "nothing is known of it"
