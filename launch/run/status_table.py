"""The state of a run as a table on a terminal."""

from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launch.run.status import JobStatus, RunStatus
from launch.terminal.wording import clock, duration, group_text

COLORS: dict[str, str] = {
    "done": "green",
    "running": "cyan",
    "waiting": "dim",
    "failed": "bold red",
    "stopped": "yellow",
    "skipped": "yellow",
}


@dataclass(frozen=True)
class Column:
    """A column of the table. wrap: its text may be broken into lines. narrow: shown on terminals narrower than WIDE."""

    heading: str
    justify: Literal["left", "right"] = "left"
    wrap: bool = True
    narrow: bool = True


WIDE = 120
"""Characters of a terminal that is wide enough for every column."""

COLUMNS = (
    Column("job", wrap=False),
    Column("state", wrap=False),
    Column("group"),
    Column("epoch", "right"),
    Column("step", "right", wrap=False),
    Column("accuracy", "right"),
    Column("last checkpoint", narrow=False),
    Column("attempts", "right", narrow=False),
    Column("retries", "right"),
    Column("sign of life"),
)


def print_status(status: RunStatus, console: Console | None = None) -> None:
    """Print the state of a run as a table."""
    console = console or Console()
    running = [job for job in status.jobs if job.state == "running"]
    stale = bool(running) and all(job.stale for job in running)
    word = "[bold yellow]stale[/]" if stale else f"[{COLORS[status.state]}]{status.state}[/]"
    title = f"[bold]{escape(str(status.run))}[/]: {word}"
    table = Table(title=title, title_justify="left", header_style="bold", expand=False)
    columns = [c for c in COLUMNS if c.narrow or console.width >= WIDE]
    for column in columns:
        table.add_column(column.heading, justify=column.justify, no_wrap=not column.wrap)
    for job in status.jobs:
        row = dict(zip(COLUMNS, _row(job, status.now), strict=True))
        table.add_row(*(row[column] for column in columns))
    console.print(table)
    if status.driver is not None:
        color = "yellow" if status.driver.gone else "dim"
        console.print(f"[{color}]driver: {escape(status.driver.text)}[/]", highlight=False)
    for job in status.jobs:
        if job.error:
            color = "bold red" if job.state in ("failed", "skipped") else "yellow"
            console.print(f"[{color}]{escape(job.name)}[/]: {escape(job.error)}", highlight=False)
    for problem in status.problems:
        console.print(f"[yellow]{escape(problem)}[/]", highlight=False)


def _row(job: JobStatus, now: float) -> list[str]:
    phase = f" ({job.phase})" if job.state == "running" and job.phase not in (None, "training", "done") else ""
    state = f"[{COLORS[job.state]}]{job.state}{phase}[/]"
    if job.stale:
        state = "[bold yellow]stale[/]"
    return [
        escape(job.name),
        state,
        escape(group_text(job.group)) or "–",
        _of(job.epoch, job.epochs),
        _of(job.step, job.steps),
        "–" if job.accuracy is None else f"{job.accuracy_on} {job.accuracy:.1%}",
        escape(job.last_checkpoint or "–"),
        str(job.attempts) if job.attempts else "–",
        str(job.retries) if job.attempts else "–",
        _life(job, now),
    ]


def _life(job: JobStatus, now: float) -> str:
    if job.age_s is None or job.idle_s is None:
        return "–"
    if job.stale and job.age_s < job.idle_s:
        return f"[bold yellow]no progress for {duration(job.idle_s)}[/]"
    if job.stale and job.last_sign_of_life is not None:
        since = f"{clock(job.last_sign_of_life, now)} ({duration(job.age_s)})"
        return f"[bold yellow]no sign of life since {since}[/]"
    if job.state == "running":
        return f"{job.age_s:.0f} s ago"
    return f"{duration(job.age_s)} ago"


def _of(part: int | None, total: int | None) -> str:
    if part is None:
        return "–"
    return f"{part}/{total}" if total is not None else str(part)
