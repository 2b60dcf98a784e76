"""Whether a job that failed is started again: a decision from what happened so far, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.schedule.job import Failure

LONGEST_WAIT_S = 30.0


@dataclass(frozen=True)
class RetryPolicy:
    """How many failures of a job are borne; failures to start are counted apart.

    lost_host_timeout_s: how long a job waits for lost hosts without which there are too few slots for it.
    """

    max_failures: int = 3
    max_start_failures: int = 3
    lost_host_timeout_s: float = 1800.0


@dataclass(frozen=True)
class Decision:
    """Start the job again after `wait_s` seconds, or give up; `reason` says why, in words."""

    again: bool
    reason: str
    wait_s: float = 0.0


def decide(policy: RetryPolicy, failures: Sequence[Failure]) -> Decision:
    """What to do after the last of `failures`, which are all of one job, oldest first."""
    last = failures[-1]
    if last.kind == "user":
        return Decision(False, "a retry cannot mend it")
    # What an exception says is decided by the program and its data; the same words twice are not chance.
    # A failure to start or a death has a traceback only where an exception of the program's caused it.
    raised = last.kind == "raised" or (last.kind == "start" and last.traceback is not None)
    if raised and any((f.kind, f.message) == (last.kind, last.message) for f in failures[:-1]):
        return Decision(False, "the same error twice")
    at_start = last.kind == "start"
    count = sum((failure.kind == "start") == at_start for failure in failures)
    limit = policy.max_start_failures if at_start else policy.max_failures
    what = "failed to start" if at_start else "failed"
    if count > limit:
        return Decision(False, f"{what} {count} times, and {limit} are allowed")
    wait_s = min(LONGEST_WAIT_S, 2.0 ** (count - 1)) if at_start else 0.0
    return Decision(True, f"{what}, {count} of {limit} times allowed", wait_s)
