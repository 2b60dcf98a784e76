"""Copies of a finished run, for tests that begin in the middle of one."""

import shutil
from collections.abc import Iterable
from pathlib import Path


def copy_without(run: Path, copy: Path, jobs: Iterable[str]) -> Path:
    """Copy a run folder as it was before `jobs` started; returns `copy`."""
    shutil.copytree(run, copy)
    for job in jobs:
        shutil.rmtree(copy / "jobs" / job)
    for name in ("events.jsonl", "metrics.json", "report.html"):
        (copy / name).unlink(missing_ok=True)
    return copy
