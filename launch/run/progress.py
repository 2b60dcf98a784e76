"""Live progress of a run: bars on a terminal, an occasional line otherwise."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from data_tools.files import read_object
from data_tools.protocol import heartbeat_path
from launch.run.schema import EventRecord, ProgressRecord
from launch.terminal.wording import duration, group_text
from trainer.job_folder.journal import RESULT, job_folder

POLL_S = 1.0
LINE_EVERY_S = 10.0
"""Least time between two lines about one job without a terminal; the line of an epoch's end waits for it."""

LINE_AT_LEAST_EVERY_S = 60.0
"""Longest time between two lines about one job without a terminal."""

ENDING = {"done", "failed", "retried", "skipped", "stopped"}


class JobPace:
    """The progress records of one attempt, and when they are worth a line. Times are unix seconds.

    previous: the record that an earlier attempt left. It is recognized by its time, not by its age, since the clocks of
    hosts differ.
    """

    def __init__(self, name: str, started: float, *, previous: ProgressRecord | None = None) -> None:
        self.name = name
        self.started = started
        self.latest = ProgressRecord()
        self._previous_time = (previous or {}).get("time")
        self._first: tuple[float, int] | None = None
        self._line_time = started
        self._line_epoch: int | None = None

    def take(self, record: ProgressRecord) -> bool:
        """Keep a progress record if it is new and of this attempt; whether it was."""
        moment = record.get("time")
        if not isinstance(moment, int | float) or moment in (self._previous_time, self.latest.get("time")):
            return False
        self.latest = record
        # A record without figures is of a job that starts, and says nothing about its pace.
        if self._first is None and record.get("steps"):
            self._first = (moment, record["step"])
        return True

    def seconds_left(self) -> float | None:
        """Seconds that the remaining steps take at the mean pace of this attempt, evaluations included."""
        step, steps, moment = self.latest.get("step"), self.latest.get("steps"), self.latest.get("time")
        if self._first is None or not steps or step is None or moment is None:
            return None
        seconds, done = moment - self._first[0], step - self._first[1]
        return seconds / done * (steps - step) if done > 0 and seconds > 0 else None

    def line(self, now: float) -> str | None:
        """A line if one is due: at the end of an epoch, but not too often, and after a long silence."""
        if not self.latest:
            return None
        waited, epoch = now - self._line_time, self.latest.get("epoch")
        new_epoch = epoch != self._line_epoch and waited >= LINE_EVERY_S
        if not new_epoch and waited < LINE_AT_LEAST_EVERY_S:
            return None
        self._line_time, self._line_epoch = now, epoch
        return f"{self.name}: {', '.join(part for part in self.parts() if part)}"

    def parts(self) -> list[str]:
        """Phase, epoch, step, loss, accuracy, pace and time left, each as text; empty if unknown."""
        latest, left = self.latest, self.seconds_left()
        loss, accuracy, rate = latest.get("loss"), latest.get("accuracy"), latest.get("pages_per_s")
        training = latest.get("phase") == "training"  # in other phases, these are not figures of the epoch
        return [
            str(latest.get("phase", "starting")),
            f"epoch {latest.get('epoch')}/{latest.get('epochs')}" if latest.get("epoch") is not None else "",
            f"step {latest.get('step') or 0}/{latest.get('steps')}" if latest.get("steps") else "",
            f"loss {loss:.3f}" if training and _is_number(loss) else "",
            f"accuracy {accuracy:.1%}" if training and _is_number(accuracy) else "",
            f"{rate:,.0f} pages/s" if training and _is_number(rate) else "",
            f"{duration(left)} left" if left is not None else "",
        ]


class RunProgress:
    """Context that follows the running jobs of a run folder from a thread; the driver passes it each event."""

    def __init__(self, run: Path, *, console: Console | None = None, clock: Callable[[], float] = time.time) -> None:
        self._run = run
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[str, JobPace] = {}
        self._bars: dict[str, TaskID] = {}
        self._live = _job_bars(self._console) if self._console.is_terminal else None
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
            pace = self._jobs.get(name)
            if kind == "started":
                self._jobs[name] = JobPace(name, record["time"], previous=self._read(name))
            elif kind in ENDING:
                self._jobs.pop(name, None)
                bar = self._bars.pop(name, None)
                if self._live and bar is not None:
                    self._live.remove_task(bar)
        line = event_line(record, self._run, since=pace.started if pace else None)
        if line:
            self._console.print(line)

    def poll(self) -> None:
        """Read the progress of the running jobs once, and show what is new."""
        now = self._clock()
        with self._lock:
            jobs = list(self._jobs.values())
            for pace in jobs:
                pace.take(self._read(pace.name))
                if self._live:
                    self._draw(self._live, pace)
                elif line := pace.line(now):
                    self._console.print(escape(line))

    def _read(self, job: str) -> ProgressRecord:
        return cast(ProgressRecord, read_object(heartbeat_path(job_folder(self._run, job), 0)))

    def _follow(self) -> None:
        while not self._stop.wait(POLL_S):
            self.poll()

    def _draw(self, live: Progress, pace: JobPace) -> None:
        if pace.name not in self._bars:
            self._bars[pace.name] = live.add_task(escape(pace.name), total=None, detail="starting")
        phase, *rest = pace.parts()
        words = [phase] if phase != "training" else []
        detail = "  ".join(escape(part) for part in [*words, *rest] if part)
        step, steps = pace.latest.get("step") or 0, pace.latest.get("steps")
        live.update(self._bars[pace.name], completed=step, total=steps, detail=detail)


def event_line(record: EventRecord, run: Path, *, since: float | None) -> str:
    """An event as one line of rich markup; empty if it is not worth one. since: start of the attempt."""
    name, kind = escape(record["job"]), record["event"]
    reason = escape(str(record.get("error") or "unknown").strip().splitlines()[0])
    took = f" in {duration(record['time'] - since)}" if since is not None else ""
    if kind == "started":
        attempt = record.get("attempt") or 1
        again = f", attempt {attempt}" if attempt > 1 else ""
        return f"[cyan]{name}[/]: started on {escape(group_text(record.get('group') or {}))}{again}"
    if kind == "done":
        return f"[green]{name}[/]: done{took}{_accuracies(job_folder(run, record['job']) / RESULT)}"
    if kind == "retried":
        number = record.get("attempt", 1)
        return f"[yellow]{name}[/]: attempt {number} failed{took} ({reason}); retrying"
    if kind == "failed":
        return f"[bold red]{name}[/]: failed{took}: {reason}"
    if kind == "stopped":
        return f"[yellow]{name}[/]: stopped{took}{f': {reason}' if record.get('error') else ', saved'}"
    return f"[yellow]{name}[/]: {kind}: {reason}" if kind in ("skipped", "waiting") else ""


def _job_bars(console: Console) -> Progress:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[detail]}"),
    )
    return Progress(*columns, console=console, refresh_per_second=4, transient=True)


def _accuracies(result_file: Path) -> str:
    result = read_object(result_file)
    named = (("validation", result.get("val_accuracy")), ("test", result.get("test_accuracy")))
    parts = [f"{name} {value:.1%}" for name, value in named if _is_number(value)]
    return f" ({', '.join(parts)})" if parts else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
