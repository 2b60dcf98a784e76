"""Faults as data, for tests and drills: at which step of which attempt which rank does what.

A plan is a JSON file with a list of

    {"job": "top", "attempt": 1, "rank": 0, "step": 7, "action": "kill"}

It is `faults.json` in the run folder, or the file that the environment variable REGIONSTACK_FAULTS names. What fired
is recorded in `faults.jsonl` of the job's folder, synced, before it takes effect, so that a test can tell that it did.
A testing tool: a run without such a file knows nothing of it.
"""

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from data_tools.config import from_mapping
from data_tools.files import append_line, read_json
from trainer.job_folder.checkpoint import WEIGHTS, CheckpointFolder

logger = logging.getLogger(__name__)

PLAN = "REGIONSTACK_FAULTS"
PLAN_FILE = "faults.json"
FIRED = "faults.jsonl"

Action = Literal["kill", "stop", "hang", "raise", "term", "fill-disk", "corrupt-newest-checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, after `step` finished steps of the job; in the phases `evaluating` and `predicting`, which happen
    between two steps, after `batch` finished batches. Several at one place fire in the order of the plan.

    kill: SIGKILL. stop: SIGSTOP, a process that is there and does nothing. hang: the training thread waits for ever.
    raise: an exception. term: SIGTERM, as a scheduler sends it before it takes a host. fill-disk: the process can
    write to no file any more, as on a full disk. corrupt-newest-checkpoint: a bit of its weights is turned.
    """

    job: str
    step: int
    action: Action
    rank: int = 0
    attempt: int = 1
    phase: Literal["training", "evaluating", "predicting"] = "training"
    batch: int = 1


class InjectedFault(RuntimeError):
    """Raised by the action `raise`."""


def planned_faults(run: Path) -> tuple[Fault, ...]:
    """The faults planned for the run in folder `run`; none where there is no plan.

    Raises:
        UserError: the plan is not readable, or holds what is no fault.
    """
    named = os.environ.get(PLAN)
    path = Path(named) if named else run / PLAN_FILE
    if not named and not path.exists():
        return ()
    return tuple(from_mapping(Fault, fault, where=str(path)) for fault in read_json(path))


class FaultInjector:
    """Fires what is planned for one attempt of one rank; call it with each finished step and evaluated batch.

    settled: waits until checkpoints that are being written are there, so that which one is the newest is certain.
    """

    def __init__(self, run: Path, folder: Path, *, place: tuple[str, int, int], settled: Callable[[], None]) -> None:
        """place: name of the job, attempt, rank; folder: the job's."""
        self._faults = [f for f in planned_faults(run) if (f.job, f.attempt, f.rank) == place]
        self._folder = folder
        self._settled = settled
        if self._faults:
            logger.warning("faults are planned for this rank: %s", [asdict(fault) for fault in self._faults])

    def __call__(self, phase: str, step: int, batch: int) -> None:
        """Fire what is planned for after `step` finished steps, and within an evaluation `batch` finished batches.

        Raises:
            InjectedFault: the planned action is `raise`.
        """
        for fault in self._faults:
            if (fault.phase, fault.step) == (phase, step) and (phase == "training" or fault.batch == batch):
                self._fire(fault)

    def _fire(self, fault: Fault) -> None:
        record = {**asdict(fault), "time": time.time()}
        if fault.action == "corrupt-newest-checkpoint":
            self._settled()
            path = corrupt_newest(self._folder / "checkpoints")
            record["checkpoint"] = None if path is None else path.name
        append_line(self._folder / FIRED, record, sync=True)
        if fault.action == "raise":
            raise InjectedFault(f"planned fault at step {fault.step}")
        if fault.action == "hang":
            threading.Event().wait()
        if fault.action == "fill-disk":
            # Every write that makes a file longer fails from here on, with EFBIG in place of ENOSPC.
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        signals = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM}
        if fault.action in signals:
            os.kill(os.getpid(), signals[fault.action])


def corrupt_newest(folder: Path) -> Path | None:
    """Turn one bit in the middle of the newest checkpoint's weights; that checkpoint, None where there is none."""
    checkpoints = CheckpointFolder(folder, keep=1)
    steps = checkpoints.steps()
    if not steps:
        return None
    path = checkpoints.path(steps[-1]) / WEIGHTS
    with path.open("r+b") as file:
        middle = file.seek(0, os.SEEK_END) // 2
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(bytes([byte[0] ^ 1]))
    return path.parent
