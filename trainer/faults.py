"""Faults as data, for tests and drills: at which step of which attempt which rank does what.

A plan is a JSON file, named by the environment variable REGIONSTACK_FAULTS, with a list of
{"job": "top", "attempt": 1, "rank": 0, "step": 7, "action": "kill"}. What fired is recorded in `faults.jsonl` of
the job's folder before it takes effect, so that a test can tell that it did.
"""

import os
import signal
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from data_tools.config import from_mapping
from data_tools.files import append_line, read_json

PLAN = "REGIONSTACK_FAULTS"
FIRED = "faults.jsonl"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. kill: SIGKILL; stop: SIGSTOP, a process that is there and does nothing; hang: the training
    thread waits for ever; raise: an exception; term: SIGTERM, as a scheduler sends it before it takes a host.
    """

    job: str
    step: int
    action: Literal["kill", "stop", "hang", "raise", "term"]
    rank: int = 0
    attempt: int = 1


class InjectedFault(RuntimeError):
    """Raised by the action `raise`."""


def planned_faults() -> tuple[Fault, ...]:
    """The faults of the plan in the environment; none where there is no plan."""
    path = os.environ.get(PLAN)
    if not path:
        return ()
    return tuple(from_mapping(Fault, fault, where=path) for fault in read_json(Path(path)))


class FaultInjector:
    """Fires what is planned for one attempt of one rank; call it with each finished step."""

    def __init__(self, folder: Path, *, job: str, attempt: int, rank: int) -> None:
        mine = [f for f in planned_faults() if (f.job, f.attempt, f.rank) == (job, attempt, rank)]
        self._by_step = {fault.step: fault for fault in mine}
        self._folder = folder

    def __call__(self, step: int) -> None:
        """Fire what is planned for after `step` finished steps.

        Raises:
            InjectedFault: the planned action is `raise`.
        """
        fault = self._by_step.get(step)
        if fault is None:
            return
        append_line(self._folder / FIRED, asdict(fault))
        if fault.action == "raise":
            raise InjectedFault(f"planned fault at step {step}")
        if fault.action == "hang":
            threading.Event().wait()
        signals = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}
        os.kill(os.getpid(), signals[fault.action])
