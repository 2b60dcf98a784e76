"""Stop requests: a context that records stop signals, so that the program can save and exit at a time of its choice."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any

from data_tools.errors import Stopped

STOPPED = 75
"""Exit status of a job that was asked to stop and has saved (EX_TEMPFAIL of sysexits.h)."""
AT_ONCE = 130
"""Exit status after a second Ctrl-C."""


def exit_at_second_interrupt(received: Sequence[int]) -> None:
    """End the process at the second SIGINT of `received`.

    SIGTERM may arrive several times, from a scheduler and from a launcher that received it too; only a person who
    presses Ctrl-C twice is in a hurry.
    """
    if received[-1] == signal.SIGINT and received.count(signal.SIGINT) > 1:
        os._exit(AT_ONCE)


class StopRequest:
    """Context in which `signals` are recorded instead of ending the process; on exit the old handlers return.

    A context within another one has received what the outer one had received before.

    on_signal: called from the handler with the numbers of all signals received so far, the newest last.
    """

    def __init__(
        self,
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
        *,
        on_signal: Callable[[Sequence[int]], None] = exit_at_second_interrupt,
    ) -> None:
        self._signals = tuple(signals)
        self._on_signal = on_signal
        self._received: list[int] = []
        self._before: dict[int, Any] = {}

    def received(self) -> bool:
        """Whether a signal has arrived."""
        return bool(self._received)

    def _record(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._received.append(number)
        self._on_signal(self._received)

    def __enter__(self) -> "StopRequest":
        # Only the main thread may set handlers; in another one (a Ray actor's) signals are the host program's business.
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                self._before[number] = before = signal.signal(number, self._record)
                outer = getattr(before, "__self__", None)
                if isinstance(outer, StopRequest):
                    self._received += [one for one in outer._received if one == number]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # A process that exits because of a stop must not be stopped again; a second Ctrl-C still ends it at once.
            if not isinstance(error, Stopped):
                signal.signal(number, handler)
            elif number == signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
