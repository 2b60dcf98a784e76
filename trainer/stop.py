"""A wish to stop, as a signal brings it: it is remembered, and a second Ctrl-C ends the process at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from data_tools.errors import Stopped

STOPPED = 75
"""Exit status of a job that was asked to stop and is saved (EX_TEMPFAIL of sysexits.h)."""
AT_ONCE = 130
"""Exit status after a second Ctrl-C."""


class StopSignal:
    """Context in which SIGTERM and SIGINT are remembered instead of ending the process.

    SIGTERM may come twice, from a scheduler and from a launcher that was told too; only a person is in a hurry.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._interrupted = False
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked.is_set()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT:
            if self._interrupted:
                os._exit(AT_ONCE)
            self._interrupted = True
        self._asked.set()

    def __enter__(self) -> "StopSignal":
        # Only a main thread may set handlers; elsewhere (a Ray actor's thread) signals are the host's business.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # Who leaves because of a stop is not to be stopped in leaving; a second Ctrl-C still ends it at once.
            if not isinstance(error, Stopped):
                signal.signal(number, handler)
            elif number == signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
