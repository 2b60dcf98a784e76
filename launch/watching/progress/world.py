"""Progress and records of jobs that run without a driver: by the first rank of a world that horovodrun started."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from data_tools.errors import Stopped, is_lost_peer
from launch.recipe.stages import Recipe
from launch.run.folder import record_event
from launch.run.owner import own_record
from launch.run.schema import EventKind, EventRecord
from launch.terminal.console import print_out
from launch.watching.progress.event_line import accuracies
from launch.watching.progress.run_progress import RunProgress, stages_of
from trainer.job_folder.attempt_count import attempts_before
from trainer.job_folder.journal import RESULT, job_folder


class WorldProgress:
    """Context that shows what the world's jobs do and records it in the run folder, as a driver does.

    first: whether this process is the first rank; all others do nothing.
    """

    def __init__(self, run: Path, recipe: Recipe, *, first: bool) -> None:
        self._run, self._first = run, first
        self._progress = RunProgress(run, stages=stages_of(recipe)) if first else None

    def say(self, line: str) -> None:
        """Print a line, in the first rank alone."""
        if self._first:
            print_out(line)

    @contextlib.contextmanager
    def job(self, name: str) -> Iterator[None]:
        """Around one job: records its start and how it ended, unless it was finished before."""
        result = job_folder(self._run, name) / RESULT
        if self._progress is None or result.exists():
            self.say(f"{name}: finished before{accuracies(result)}")
            yield
            return
        attempt = attempts_before(job_folder(self._run, name)) + 1
        self._record(name, "started", group=_group(), attempt=attempt, owner=own_record())
        try:
            yield
        except Stopped:
            self._record(name, "stopped")
            raise
        except BaseException as error:
            # A full disk takes no record either; the job's own error says so.
            with contextlib.suppress(OSError):
                self._record(name, *_ending(error))
            raise
        self._record(name, "done")

    def _record(self, name: str, kind: EventKind, error: str | None = None, **more: object) -> None:
        record: EventRecord = {"time": time.time(), "event": kind, "job": name}
        record |= more  # type: ignore[typeddict-item]
        if error is not None:
            record["error"] = error
        record_event(self._run, record)
        # What went wrong is one line of the command itself, at its end.
        if self._progress is not None and kind in ("started", "done"):
            self._progress.event(record)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.__exit__(kind, error, trace)


def _ending(error: BaseException) -> tuple[EventKind, str]:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", "interrupted"
    if is_lost_peer(error):
        return "failed", "another rank is gone, which reports why"
    return "failed", str(error) or type(error).__name__


def _group() -> dict[str, int]:
    """The world's workers by host, as far as this process knows."""
    size, here = (int(os.environ.get(name, "1")) for name in ("HOROVOD_SIZE", "HOROVOD_LOCAL_SIZE"))
    return {socket.gethostname(): here, **({"other hosts": size - here} if size > here else {})}
