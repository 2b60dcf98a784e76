"""The retry decision, as a table."""

import pytest

from cluster.schedule.job import Failure
from cluster.schedule.retry import RetryPolicy, decide

POLICY = RetryPolicy(max_failures=2, max_start_failures=1)
DIED = Failure("died", "the worker is gone")
START = Failure("start", "not up after 9 s")
IMPORT = Failure("start", "no module named x", traceback="Traceback ...")
USER = Failure("user", "labels.txt:3: malformed")
NAN_AT_7 = Failure("raised", "step 7: the gradients are not finite")
NAN_AT_9 = Failure("raised", "step 9: the gradients are not finite")
HUNG = Failure("hung", "it hangs: in training, step 7 for 901 s, silent for 1 s")
STOPPED = Failure("stopped", "stopped at step 7, saved")
LEFT = Failure("reclaimed", "left gpu1: Amazon will terminate it; saved")

# failures so far -> again, reason
TABLE = [
    ([DIED], True, "failed, 1 of 2 tolerated"),
    ([DIED, DIED], True, "failed, 2 of 2 tolerated"),
    ([DIED, DIED, DIED], False, "failed 3 times, 2 are tolerated"),
    ([START], True, "failed to start, 1 of 1 tolerated"),
    ([START, START], False, "failed to start 2 times, 1 are tolerated"),
    ([DIED, DIED, START], True, "failed to start, 1 of 1 tolerated"),  # counted apart
    ([START, DIED, DIED], True, "failed, 2 of 2 tolerated"),
    ([USER], False, "a retry cannot fix it"),
    ([DIED, USER], False, "a retry cannot fix it"),
    ([NAN_AT_7], True, "failed, 1 of 2 tolerated"),
    ([NAN_AT_7, NAN_AT_9], True, "failed, 2 of 2 tolerated"),
    ([NAN_AT_7, NAN_AT_7], False, "the same error twice"),
    ([NAN_AT_7, DIED, NAN_AT_7], False, "the same error twice"),
    ([IMPORT, IMPORT], False, "the same error twice"),
    ([HUNG, HUNG], True, "failed, 2 of 2 tolerated"),  # a hang is a failure like a death
    ([HUNG, DIED, HUNG], False, "failed 3 times, 2 are tolerated"),
    ([LEFT] * 9, True, "does not count as a failure"),
    ([LEFT, DIED, LEFT, DIED], True, "failed, 2 of 2 tolerated"),
    ([DIED, LEFT, DIED, LEFT, DIED], False, "failed 3 times, 2 are tolerated"),
    ([STOPPED], True, "failed, 1 of 2 tolerated"),  # by somebody else than the driver: its host is taken away
]


@pytest.mark.parametrize(("failures", "again", "reason"), TABLE)
def test_decision(failures: list[Failure], again: bool, reason: str) -> None:
    decision = decide(POLICY, failures)
    assert (decision.again, decision.reason) == (again, reason)


def test_failures_to_start_wait_longer_each_time() -> None:
    policy = RetryPolicy(max_start_failures=9)
    assert [decide(policy, [START] * n).wait_s for n in (1, 2, 3, 6)] == [1.0, 2.0, 4.0, 30.0]
    assert decide(policy, [START, DIED]).wait_s == 0.0


def test_no_failure_tolerated() -> None:
    assert not decide(RetryPolicy(0, 0), [DIED]).again
    assert not decide(RetryPolicy(0, 0), [START]).again
