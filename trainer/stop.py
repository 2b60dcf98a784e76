"""A wish to stop, as a signal brings it: the first one is remembered, a second one ends the process at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPED = 75
"""Exit status of a job that was asked to stop and is saved (EX_TEMPFAIL of sysexits.h)."""
AT_ONCE = 130
"""Exit status after a second signal."""


class Stopped(Exception):
    """All ranks agreed to stop, and what they have done is saved."""


class StopSignal:
    """Context in which SIGTERM and SIGINT are remembered instead of ending the process."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked.is_set()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._asked.is_set():
            os._exit(AT_ONCE)
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
            signal.signal(number, handler)
