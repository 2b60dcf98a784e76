"""What a job tells while it runs: its log, its metrics and its sign of life, all in the job's folder."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_tools.files import append_line, temporary_name, write_atomically

METRICS = "metrics.jsonl"
PROGRESS = "progress.json"
RESULT = "result.json"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"

SIGN_OF_LIFE_S = 1.0
"""Least time between two rewrites of progress.json."""


def job_folder(run: Path, job: str) -> Path:
    """Folder of one job within the run folder."""
    return run / "jobs" / job


def log_to(folder: Path, *, rank: int) -> logging.Handler:
    """Send our log to the job's folder: rank 0 to `log.txt`, others to files of their own (safe on NFS)."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "log.txt" if rank == 0 else f"log-rank-{rank:03d}.txt"
    handler = logging.FileHandler(folder / name)
    handler.setFormatter(logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return handler


class Journal:
    """Writes a job's metrics and progress; silent on every rank but 0."""

    def __init__(self, folder: Path, *, rank: int, fixed: Mapping[str, Any]) -> None:
        self._folder = folder
        self._speaks = rank == 0
        self._fixed = dict(fixed)
        self._last = 0.0

    def due(self) -> bool:
        """Whether progress may be told again; ask before computing what it tells."""
        return self._speaks and time.monotonic() - self._last >= SIGN_OF_LIFE_S

    def progress(self, phase: str, **values: Any) -> None:
        """Rewrite progress.json. Not synced to disk: it is a sign of life, not a record."""
        if not self._speaks:
            return
        self._last = time.monotonic()
        path = self._folder / PROGRESS
        temporary = temporary_name(path)
        content = {**self._fixed, "phase": phase, **values, "pid": os.getpid(), "time": time.time()}
        temporary.write_text(json.dumps(content))
        temporary.replace(path)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Append one epoch's figures to metrics.jsonl."""
        if self._speaks:
            append_line(self._folder / METRICS, dict(row))

    def rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Make metrics.jsonl hold just `rows`: what a killed attempt wrote after its last checkpoint goes."""
        if self._speaks:
            write_atomically(self._folder / METRICS, "".join(json.dumps(dict(row)) + "\n" for row in rows))
