"""One event of a run as a line."""

from pathlib import Path

from rich.markup import escape

from data_tools.files import read_object
from launch.run.schema import EventRecord
from launch.terminal.wording import duration, group_text
from launch.watching.progress.pace import is_number
from trainer.job_folder.journal import RESULT, job_folder


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
        return f"[green]{name}[/]: done{took}{accuracies(job_folder(run, record['job']) / RESULT)}"
    if kind == "retried":
        number = record.get("attempt", 1)
        return f"[yellow]{name}[/]: attempt {number} failed{took} ({reason}); retrying"
    if kind == "failed":
        return f"[bold red]{name}[/]: failed{took}: {reason}"
    if kind == "stopped":
        return f"[yellow]{name}[/]: stopped{took}{f': {reason}' if record.get('error') else ', saved'}"
    return f"[yellow]{name}[/]: {kind}: {reason}" if kind in ("skipped", "waiting") else ""


def accuracies(result_file: Path) -> str:
    """The accuracies in a job's `result.json` in parentheses; empty without a file."""
    result = read_object(result_file)
    named = (("validation", result.get("val_accuracy")), ("test", result.get("test_accuracy")))
    parts = [f"{name} {value:.1%}" for name, value in named if is_number(value)]
    return f" ({', '.join(parts)})" if parts else ""


def accuracy_of(result_file: Path) -> float | None:
    """The accuracy in a job's `result.json`, on the test pages if it has one; None without a file."""
    result = read_object(result_file)
    found = [result.get(name) for name in ("test_accuracy", "val_accuracy")]
    return next((float(value) for value in found if isinstance(value, int | float)), None)
