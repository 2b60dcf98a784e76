"""The log, the metrics and the reported figures of a running job, all in the job's folder."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_tools.errors import UserError, storage_problem
from data_tools.files import read_json_object, write_atomically
from trainer.config import STACK
from trainer.job_folder.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
RESULT = "result.json"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"
STACK_DESCRIPTION = "stack.json"
"""In the folder of the stack's job: its members, classes and method."""

REPORT_S = 1.0
"""Shortest interval in seconds between two reports of the figures that a person follows."""


def job_folder(run: Path, job: str) -> Path:
    """Folder of one job within the run folder."""
    return run / "jobs" / job


def read_result(folder: Path, keys: Mapping[str, type] | None = None) -> dict[str, Any]:
    """The result of a finished job, which has `keys` with values of these types.

    Raises:
        UserError: the file is missing or damaged.
    """
    advice = "restore it from a copy of the run, or delete it and run train-all again (for a student: distill)"
    return read_json_object(folder / RESULT, keys, advice=advice)


def make_again(folder: Path) -> str:
    """What to do about a damaged file in the `folder` of the stack or of its student."""
    command = "train-all" if folder.name == STACK else "distill"
    return f"restore {folder} from a copy of the run, or delete it and run {command} again, which makes it anew"


class JobLog(logging.FileHandler):
    """A log file. A write error (a full disk) is reported once on standard error and does not end the job."""

    _reported = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Report the first error in one line; logging itself prints a traceback for every record."""
        del record
        self._report(sys.exception())

    def close(self) -> None:
        """Close the file; flushing its buffer may fail for lack of space, too."""
        try:
            super().close()
        except OSError as error:
            self._report(error)

    def _report(self, error: BaseException | None) -> None:
        if not self._reported:
            self._reported = True
            with contextlib.suppress(OSError):  # standard error may be on the same disk
                sys.stderr.write(f"{self.baseFilename}: the log cannot be written ({error})\n")


@contextlib.contextmanager
def log_to(folder: Path, *, rank: int) -> Iterator[None]:
    """Write the log to the job's folder: rank 0 to `log.txt`, every other rank to its own file (safe on NFS).

    Raises:
        UserError: raised inside the context, and logged here; or the file system is full or read-only.
    """
    root = logging.getLogger()
    handler: JobLog | None = None
    with contextlib.ExitStack() as at_end:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            name = "log.txt" if rank == 0 else f"log-rank-{rank:03d}.txt"
            handler = JobLog(folder / name, encoding="utf-8", errors="backslashreplace")
            at_end.callback(handler.close)
            handler.setFormatter(logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s"))
            root.addHandler(handler)
            at_end.callback(root.removeHandler, handler)
            root.setLevel(logging.INFO)
            yield
        except (OSError, UserError) as error:
            problem = storage_problem(error) if isinstance(error, OSError) else error
            if problem is None:
                raise
            if handler is not None:
                # Into the file only: whoever catches the error prints the one line for the terminal.
                handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "%s", (problem,), None))
            raise problem from None


class Journal:
    """Writes a job's metrics, and puts its figures into the heartbeat; does nothing on any rank but 0.

    fixed: figures that are the same in every report.
    """

    def __init__(self, folder: Path, *, rank: int, fixed: Mapping[str, Any], heartbeat: Heartbeat) -> None:
        self.folder = folder
        self._active = rank == 0
        self._fixed = dict(fixed)
        self._heartbeat = heartbeat
        self._last = 0.0
        self._rows: list[Mapping[str, Any]] = []

    def due(self) -> bool:
        """Whether the next report is due; ask before computing its figures."""
        return self._active and time.monotonic() - self._last >= REPORT_S

    def progress(self, phase: str, **figures: Any) -> None:
        """Report the phase and the figures that a person follows, in rank 0's heartbeat file."""
        if self._active:
            self._last = time.monotonic()
            self._heartbeat.report(phase, {**self._fixed, **figures})

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Append one epoch's figures (`EpochRow`) to metrics.jsonl."""
        self.rewrite([*self._rows, row])

    def rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace metrics.jsonl with `rows` atomically; drops rows that a killed attempt added after its checkpoint."""
        self._rows = list(rows)
        if self._active:
            write_atomically(self.folder / METRICS, "".join(json.dumps(dict(row)) + "\n" for row in rows))
