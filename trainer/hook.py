"""Progress hook: a function of the user's that every rank of a training job calls after each step.

The environment variable REGIONSTACK_PROGRESS_HOOK names it as `module:function`. Without the variable nothing is
imported or called. It is meant for tests, drills and monitoring; see docs/checkpoints.md.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from data_tools.errors import UserError

PROGRESS_HOOK = "REGIONSTACK_PROGRESS_HOOK"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Position of one rank in one attempt of a job.

    run, folder: paths of the run folder and of the job's folder. attempt: counted from 1.
    wait_for_checkpoint: returns when no checkpoint is being written.
    phase: `training`, `evaluating` or `predicting`, and once, before the first step, `starting`.
    step: finished training steps. batch: finished batches of the evaluation, 0 elsewhere.
    """

    run: Path
    folder: Path
    job: str
    attempt: int
    rank: int
    wait_for_checkpoint: Callable[[], None]
    phase: str = "training"
    step: int = 0
    batch: int = 0


ProgressHook = Callable[[Progress], None]


def on_progress(begin: Progress) -> Callable[[str, int, int], None]:
    """A function of (phase, step, batch) that calls the hook with `begin` moved there; it does nothing without a hook.

    Raises:
        UserError: see `progress_hook`.
    """
    hook = progress_hook()
    if hook is None:
        return lambda phase, step, batch: None
    return lambda phase, step, batch: hook(replace(begin, phase=phase, step=step, batch=batch))


def progress_hook() -> ProgressHook | None:
    """The function that the environment names, or None.

    Raises:
        UserError: the value is not `module:function`, or there is no such module or function.
    """
    value = os.environ.get(PROGRESS_HOOK)
    if not value:
        return None
    module, _, name = value.partition(":")
    if not module or not name:
        raise UserError(f"{PROGRESS_HOOK}: {value} is not of the form module:function")
    try:
        function: ProgressHook = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{PROGRESS_HOOK}: {value} cannot be imported ({error}); check it and PYTHONPATH") from None
    return function
