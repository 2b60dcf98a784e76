"""Progress over pages: a bar on a terminal, a line every ten seconds otherwise."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from launch.terminal.progress_console import progress_console
from launch.terminal.wording import duration

LINE_EVERY_S = 10.0
"""Time between two lines without a terminal."""
MIN_RATE_S = 1.0
"""A rate over less time is noise and is not shown."""


class PageProgress:
    """Context that shows pages done, their rate and the time left. Called as `progress(done, total, rejected)`."""

    def __init__(
        self, what: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._console = console or progress_console()
        self._clock = clock
        self._started = self._line_time = clock()
        self._live: Progress | None = None
        self._bar: TaskID | None = None
        self._last = (0, 0, 0)

    def __enter__(self) -> Self:
        self._started = self._line_time = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        if kind is None and self._last[1]:
            self._console.print(escape(self._summary()))

    def __call__(self, done: int, total: int, rejected: int = 0) -> None:
        """The same as `update`."""
        self.update(done, total, rejected)

    def update(self, done: int, total: int, rejected: int = 0) -> None:
        """Take the counts so far. Cheap enough to be called for every page."""
        self._last = (done, total, rejected)
        now = self._clock()
        if self._console.is_terminal:
            self._draw(now)
        elif now - self._line_time >= LINE_EVERY_S and done < total:
            self._line_time = now
            self._console.print(escape(f"{self._what}: {done:,}/{total:,} pages, {self._pace(now)}"))

    def _draw(self, now: float) -> None:
        done, total, _ = self._last
        if self._live is None:
            self._live = _page_bar(self._console)
            self._live.start()
            self._bar = self._live.add_task(escape(self._what), total=total, detail="")
        if self._bar is not None:
            self._live.update(self._bar, completed=done, total=total, detail=self._pace(now))

    def _pace(self, now: float) -> str:
        done, total, rejected = self._last
        seconds = max(now - self._started, 1e-6)
        parts = []
        if done > 0 and seconds > MIN_RATE_S:
            parts = [f"{done / seconds:,.0f} pages/s", f"{duration(seconds / done * (total - done))} left"]
        parts += [f"{rejected:,} rejected"] if rejected else []
        return ", ".join(parts)

    def _summary(self) -> str:
        done, _, rejected = self._last
        seconds = max(self._clock() - self._started, 1e-6)
        suffix = f", {rejected:,} rejected" if rejected else ""
        return f"{self._what}: {done:,} pages in {duration(seconds)} ({done / seconds:,.0f} pages/s){suffix}"


def page_progress(what: str, *, console: Console | None = None) -> PageProgress:
    """Progress over pages; `what` is being done to them, as in "converting"."""
    return PageProgress(what, console=console)


def _page_bar(console: Console) -> Progress:
    counts = TextColumn("{task.completed:,.0f}/{task.total:,.0f} pages  {task.fields[detail]}")
    return Progress(TextColumn("{task.description}"), BarColumn(bar_width=32), counts, console=console, transient=True)
