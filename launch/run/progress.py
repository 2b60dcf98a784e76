"""What a person sees while a run goes on: bars on a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from data_tools.files import read_object
from data_tools.protocol import heartbeat_path
from launch.wording import duration, group_text

POLL_S = 1.0
LINE_EVERY_S = 10.0
"""Least time between two lines about one job where there is no terminal; an epoch's end waits for it."""

LINE_AT_LEAST_EVERY_S = 60.0

STARTING = {"started", "running"}
ENDING = {"done", "failed", "retried", "skipped", "stopped"}


class JobPace:
    """One job's progress records, and when they are worth a line. Times are unix seconds.

    stale: the record that an earlier attempt left; hosts' clocks differ, so its age would not tell.
    """

    def __init__(self, name: str, started: float, *, stale: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.started = started
        self._stale_time = (stale or {}).get("time")
        self.latest: Mapping[str, Any] = {}
        self._first: tuple[float, int] | None = None
        self._told_at = started
        self._told_epoch: int | None = None

    def take(self, record: Mapping[str, Any]) -> bool:
        """Keep a progress record if it is of this attempt and not the last one again; say whether it was."""
        moment = record.get("time")
        if not isinstance(moment, int | float) or moment in (self._stale_time, self.latest.get("time")):
            return False
        self.latest = record
        # Until a record holds figures, the job starts, and its pace says nothing.
        if self._first is None and record.get("steps"):
            self._first = (moment, record["step"])
        return True

    def seconds_left(self) -> float | None:
        """Time that the remaining steps take at the mean pace of this attempt, evaluations included."""
        step, steps, moment = (self.latest.get(key) for key in ("step", "steps", "time"))
        if self._first is None or not steps or step is None or moment is None:
            return None
        seconds, done = moment - self._first[0], step - self._first[1]
        return seconds / done * (steps - step) if done > 0 and seconds > 0 else None

    def line(self, now: float) -> str | None:
        """A line, if one is due: at an epoch's end, but not too often, and after a long silence."""
        if not self.latest:
            return None
        waited, epoch = now - self._told_at, self.latest.get("epoch")
        new_epoch = epoch != self._told_epoch and waited >= LINE_EVERY_S
        if not new_epoch and waited < LINE_AT_LEAST_EVERY_S:
            return None
        self._told_at, self._told_epoch = now, epoch
        return f"{self.name}: {', '.join(part for part in self.parts() if part)}"

    def parts(self) -> list[str]:
        """Phase, epoch, step, loss, accuracy, pace and time left, in words; empty where unknown."""
        get, left = self.latest.get, self.seconds_left()
        training = get("phase") == "training"  # figures of other phases are of no epoch
        return [
            str(get("phase", "starting")),
            f"epoch {get('epoch')}/{get('epochs')}" if get("epoch") is not None else "",
            f"step {get('step') or 0}/{get('steps')}" if get("steps") else "",
            f"loss {get('loss'):.3f}" if training and _number(get("loss")) else "",
            f"accuracy {get('accuracy'):.1%}" if training and _number(get("accuracy")) else "",
            f"{get('pages_per_s'):,.0f} pages/s" if training and _number(get("pages_per_s")) else "",
            f"{duration(left)} left" if left is not None else "",
        ]


class RunProgress:
    """Follows the running jobs of a run folder from a thread, as a context; told of events by the driver."""

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

    def event(self, record: Mapping[str, Any]) -> None:
        """Take one event of the run's record ({"time", "event", "job", …}), from any thread."""
        name, kind = str(record["job"]), record["event"]
        with self._lock:
            pace = self._jobs.get(name)
            if kind == "started":
                stale = read_object(heartbeat_path(self._run / "jobs" / name, 0))
                self._jobs[name] = JobPace(name, float(record["time"]), stale=stale)
            elif kind in ENDING:
                self._jobs.pop(name, None)
                bar = self._bars.pop(name, None)
                if self._live and bar is not None:
                    self._live.remove_task(bar)
        line = event_line(record, self._run, since=pace.started if pace else None)
        if line:
            self._console.print(line)

    def poll(self) -> None:
        """Read the running jobs' progress once, and show what is new."""
        now = self._clock()
        with self._lock:
            jobs = list(self._jobs.values())
            for pace in jobs:
                pace.take(read_object(heartbeat_path(self._run / "jobs" / pace.name, 0)))
                if self._live:
                    self._draw(self._live, pace)
                elif line := pace.line(now):
                    self._console.print(escape(line))

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


def event_line(record: Mapping[str, Any], run: Path, *, since: float | None) -> str:
    """What to tell of an event, as rich markup; empty if it is no news. `since`: the attempt's start."""
    name, kind = escape(str(record["job"])), record["event"]
    reason = escape(str(record.get("error") or "unknown").strip().splitlines()[0])
    took = f" in {duration(record['time'] - since)}" if since is not None else ""
    if kind == "started":
        attempt = record.get("attempt") or 1
        again = f", attempt {attempt}" if attempt > 1 else ""
        return f"[cyan]{name}[/]: started on {escape(group_text(record.get('group') or {}))}{again}"
    if kind == "done":
        result = read_object(run / "jobs" / str(record["job"]) / "result.json")
        return f"[green]{name}[/]: done{took}{_accuracies(result)}"
    if kind == "retried":
        number = record.get("attempt", 1)
        return f"[yellow]{name}[/]: attempt {number} failed{took} ({reason}); it is tried again"
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


def _accuracies(result: Mapping[str, Any]) -> str:
    named = (("validation", result.get("val_accuracy")), ("test", result.get("test_accuracy")))
    parts = [f"{name} {value:.1%}" for name, value in named if _number(value)]
    return f" ({', '.join(parts)})" if parts else ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
