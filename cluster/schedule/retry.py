"""Decides whether a failed job is retried, from its failures alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.schedule.job import Failure

LONGEST_WAIT_S = 30.0


@dataclass(frozen=True)
class RetryPolicy:
    """How many failures of a job are tolerated; failures to start are counted separately.

    lost_host_timeout_s: how long a job waits for lost hosts while the others have too few slots for it.
    """

    max_failures: int = 3
    max_start_failures: int = 3
    lost_host_timeout_s: float = 1800.0


@dataclass(frozen=True)
class Decision:
    """Retry the job after `wait_s` seconds (`again`), or give up; and the reason, in words."""

    again: bool
    reason: str
    wait_s: float = 0.0


def decide(policy: RetryPolicy, failures: Sequence[Failure]) -> Decision:
    """The decision after the last of `failures`, all of one job, oldest first."""
    last = failures[-1]
    if last.kind == "user":
        return Decision(False, "a retry cannot fix it")
    if last.kind == "reclaimed":
        return Decision(True, "does not count as a failure")
    # An exception of the program depends on the program and its data: the same text twice is reproducible.
    # A failure to start or a death has a traceback only where an exception of the program caused it.
    raised = last.kind == "raised" or (last.kind == "start" and last.traceback is not None)
    if raised and any((f.kind, f.message) == (last.kind, last.message) for f in failures[:-1]):
        return Decision(False, "the same error twice")
    at_start = last.kind == "start"
    count = sum((failure.kind == "start") == at_start for failure in failures if failure.kind != "reclaimed")
    limit = policy.max_start_failures if at_start else policy.max_failures
    what = "failed to start" if at_start else "failed"
    if count > limit:
        return Decision(False, f"{what} {count} times, {limit} are tolerated")
    wait_s = min(LONGEST_WAIT_S, 2.0 ** (count - 1)) if at_start else 0.0
    return Decision(True, f"{what}, {count} of {limit} tolerated", wait_s)
