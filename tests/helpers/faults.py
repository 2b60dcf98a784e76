"""Fault injection for tests and benches, as data: which rank does what at which step of which attempt.

A plan is a JSON file with a list of

    {"job": "top", "attempt": 1, "rank": 0, "step": 7, "action": "kill"}

It is `faults.json` in the run folder, or the file that the environment variable REGIONSTACK_FAULTS names. The product
calls `inject` through its progress hook: REGIONSTACK_PROGRESS_HOOK=tests.helpers.faults:inject. A fault that fires is
recorded in `faults.jsonl` of the job's folder, synced, before it takes effect, so that a test can check that it fired.
"""

import functools
import logging
import os
import resource
import signal
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from data_tools.config import from_mapping
from data_tools.files import append_line, read_json
from trainer.hook import PROGRESS_HOOK, Progress
from trainer.job_folder.checkpoint import WEIGHTS, CheckpointFolder

logger = logging.getLogger(__name__)

PLAN = "REGIONSTACK_FAULTS"
PLAN_FILE = "faults.json"
FIRED = "faults.jsonl"

HOOK = {PROGRESS_HOOK: "tests.helpers.faults:inject"}
"""Environment of a process that is to fire what is planned."""

Action = Literal["kill", "stop", "hang", "raise", "term", "fill-disk", "corrupt-newest-checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, after `step` finished steps of the job; in the phases `evaluating` and `predicting`, which happen
    between two steps, after `batch` finished batches; in `starting`, before the first step of the attempt. Several
    faults at one point fire in the order of the plan.

    kill: SIGKILL. stop: SIGSTOP. hang: the training thread waits without end. raise: an exception. term: SIGTERM, as a
    scheduler sends it before it takes a host. fill-disk: every further write of the process fails, as on a full disk.
    corrupt-newest-checkpoint: one bit of its weights is flipped.
    """

    job: str
    step: int
    action: Action
    rank: int = 0
    attempt: int = 1
    phase: Literal["starting", "training", "evaluating", "predicting"] = "training"
    batch: int = 1


class InjectedFault(RuntimeError):
    """Raised by the action `raise`."""


def planned_faults(run: Path) -> tuple[Fault, ...]:
    """The faults planned for the run in folder `run`; empty without a plan.

    Raises:
        UserError: the plan cannot be read, or an entry of it is not a valid fault.
    """
    named = os.environ.get(PLAN)
    path = Path(named) if named else run / PLAN_FILE
    if not named and not path.exists():
        return ()
    return tuple(from_mapping(Fault, fault, where=str(path)) for fault in read_json(path))


def inject(progress: Progress) -> None:
    """Fire what is planned for this job, attempt and rank at this point; the product's progress hook.

    Raises:
        InjectedFault: the planned action is `raise`.
    """
    for fault in _planned_here(progress.run, progress.job, progress.attempt, progress.rank):
        at = (fault.phase, fault.step) == (progress.phase, progress.step)
        if at and (progress.phase in ("starting", "training") or fault.batch == progress.batch):
            _fire(fault, progress)


@functools.cache
def _planned_here(run: Path, job: str, attempt: int, rank: int) -> list[Fault]:
    """The faults of one attempt of one rank; read once."""
    faults = [f for f in planned_faults(run) if (f.job, f.attempt, f.rank) == (job, attempt, rank)]
    if faults:
        logger.warning("faults are planned for this rank: %s", [asdict(fault) for fault in faults])
    return faults


def _fire(fault: Fault, progress: Progress) -> None:
    record = {**asdict(fault), "time": time.time()}
    if fault.action == "corrupt-newest-checkpoint":
        progress.wait_for_checkpoint()  # so that it is certain which one is the newest
        path = corrupt_newest(progress.folder / "checkpoints")
        record["checkpoint"] = None if path is None else path.name
    append_line(progress.folder / FIRED, record, sync=True)
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
    """Flip one bit in the middle of the newest checkpoint's weights; its folder, or None if there is no checkpoint."""
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
