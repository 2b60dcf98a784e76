"""Live progress of a run: a view on a terminal, an occasional line otherwise."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from data_tools.files import read_object
from data_tools.protocol import heartbeat_path
from launch.recipe.stages import Recipe
from launch.run.schema import EventRecord, ProgressRecord
from launch.terminal.progress_console import progress_console
from launch.terminal.wording import group_text
from launch.watching.progress.event_line import accuracy_of, event_line
from launch.watching.progress.pace import JobPace
from launch.watching.progress.view import RunView
from trainer.config import STACK
from trainer.job_folder.journal import RESULT, job_folder

POLL_S = 1.0

ENDING = {"done": "done", "failed": "failed", "retried": "waiting", "skipped": "skipped", "stopped": "stopped"}
"""Event that ends an attempt -> state of the job after it."""


def stages_of(recipe: Recipe) -> dict[str, list[str]]:
    """The stages of a recipe with their jobs, in order, the stack last."""
    found: dict[str, list[str]] = {}
    for job in recipe.jobs:
        found.setdefault(job.stage_name, []).append(job.name)
    return {**found, STACK: [STACK]}


class RunProgress:
    """Context that follows the running jobs of a run folder from a thread; the driver passes it each event.

    stages: stage -> its jobs, in order. While the view is live, what this process prints appears above it.
    """

    def __init__(
        self,
        run: Path,
        *,
        stages: Mapping[str, Sequence[str]] | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run = run
        self._console = console or progress_console()
        self._clock = clock
        self._lock = threading.Lock()
        self._view = RunView(stages or {})
        for job in (name for jobs in (stages or {}).values() for name in jobs):
            if (job_folder(run, job) / RESULT).exists():
                self._set_done(job)
        self._live: Live | None = None
        if self._console.is_terminal:
            # Drawn at each poll and event, not from a thread of its own: a training process may be beside it.
            self._live = Live(self._view, console=self._console, auto_refresh=False, transient=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._live:
            self._live.stop()

    def event(self, record: EventRecord) -> None:
        """Take one event of the run; from any thread."""
        name, kind = record["job"], record["event"]
        with self._lock:
            pace = self._view.running.get(name)
            if kind == "started":
                self._view.running[name] = JobPace(name, record["time"], previous=self._read(name))
                self._view.groups[name] = group_text(record.get("group") or {})
                self._view.states[name] = "running"
            elif kind in ENDING:
                self._view.running.pop(name, None)
                self._view.states[name] = ENDING[kind]
                if kind == "done":
                    self._set_done(name)
        line = event_line(record, self._run, since=pace.started if pace else None)
        if line:
            self._console.print(line)
        self._refresh()

    def poll(self) -> None:
        """Read the progress of the running jobs once, and show what is new."""
        now = self._clock()
        with self._lock:
            paces = list(self._view.running.values())
            for pace in paces:
                pace.take(self._read(pace.name))
        lines = [] if self._live else [line for pace in paces if (line := pace.line(now))]
        for line in lines:
            self._console.print(escape(line))
        self._refresh()

    def _set_done(self, job: str) -> None:
        self._view.states[job] = "done"
        accuracy = accuracy_of(job_folder(self._run, job) / RESULT)
        if accuracy is not None:
            self._view.accuracies[job] = accuracy

    def _refresh(self) -> None:
        if self._live:
            with self._lock:
                self._live.refresh()

    def _read(self, job: str) -> ProgressRecord:
        return cast(ProgressRecord, read_object(heartbeat_path(job_folder(self._run, job), 0)))

    def _follow(self) -> None:
        while not self._stop.wait(POLL_S):
            self.poll()
