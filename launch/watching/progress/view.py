"""The live view of a run: its stages in a row, and the running jobs side by side on their groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launch.watching.progress.pace import JobPace

COLORS = {"waiting": "dim", "running": "bold cyan", "done": "green", "failed": "bold red", "stopped": "yellow",
          "skipped": "yellow"}  # fmt: skip
BAR, SHORT_BAR = 24, 8
LEAST = {"": BAR, "epoch": 5, "step": 9, "left": 10}
"""Widths of columns whose text grows while a job runs, so that the table stays where it is."""
WIDE, ROOMY, NARROW = 120, 100, 84
"""Columns of a terminal with room for groups; for long bars in a table that keeps its widths; for losses."""


@dataclass
class RunView:
    """A renderable: what is known of each job at the moment that it is drawn.

    stages: stage -> its jobs, in order. states: job -> state; a job that is not there waits. accuracies: of jobs that
    are done. running: job -> its pace; groups: job -> hosts and slots as text.
    """

    stages: Mapping[str, Sequence[str]]
    states: dict[str, str] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    running: dict[str, JobPace] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(self.stage_line(), *([self.table(options.max_width)] if self.running else []))

    def stage_line(self) -> Text:
        """All stages in a row, with the state of each."""
        parts = [Text.assemble(name, " ", self.stage_text(jobs)) for name, jobs in self.stages.items()]
        return Text(" → ", style="dim").join(parts)

    def stage_text(self, jobs: Sequence[str]) -> tuple[str, str]:
        """The state of a stage with its color: that of its jobs, how many are done, the accuracy of a single one."""
        states = [self.states.get(job, "waiting") for job in jobs]
        done = states.count("done")
        finished = "done" if done == len(jobs) else "waiting"
        state = next((word for word in ("running", "failed", "stopped", "skipped") if word in states), finished)
        if len(jobs) > 1 and 0 < done < len(jobs):
            return f"{state} {done}/{len(jobs)} done", COLORS[state]
        accuracy = self.accuracies.get(jobs[0]) if len(jobs) == 1 and state == "done" else None
        return state if accuracy is None else f"{state} {accuracy:.1%}", COLORS[state]

    def table(self, width: int) -> Table:
        """The running jobs, one in a row, with the columns that `width` characters have room for."""
        wide, roomy, narrow = width >= WIDE, width >= ROOMY, width < NARROW
        table = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
        names = ["job", *(["group"] if wide else []), "", "epoch", "step", *([] if narrow else ["loss"]), "accuracy",
                 "pages/s", "left"]  # fmt: skip
        for name in names:
            justify: Literal["left", "right"] = "left" if name in ("job", "group", "") else "right"
            least = LEAST.get(name, 0) if roomy else None
            table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", min_width=least)
        for name, pace in list(self.running.items()):  # another thread may end one meanwhile
            cells = self._cells(name, pace, bar=BAR if roomy else SHORT_BAR)
            table.add_row(*(cells[name] for name in names))
        return table

    def _cells(self, name: str, pace: JobPace, *, bar: int) -> dict[str, RenderableType]:
        now, steps = pace.figures(), pace.latest.get("steps")
        training = now.phase == "training"
        drawn = ProgressBar(total=steps or 1, completed=pace.latest.get("step") or 0, width=bar)
        return {
            "job": Text(name, style="bold"), "group": Text(self.groups.get(name, ""), style="dim"),
            "": drawn if training and steps else Text(now.phase.removeprefix("starting: ")),
            "epoch": now.epoch, "step": now.step, "loss": now.loss, "accuracy": now.accuracy, "pages/s": now.rate,
            "left": now.left,
        }  # fmt: skip
