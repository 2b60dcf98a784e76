"""A wish to stop a whole run: the first signal lets all jobs save and leave, the second ends the command at once."""

import signal
from types import FrameType, TracebackType
from typing import Any

from launch.console import print_err

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class StopRequest:
    """Context in which Ctrl-C, SIGTERM and a terminal that goes away are remembered.

    A second one raises KeyboardInterrupt, wherever the command is. A signal that is ignored (SIGHUP under nohup) stays
    so.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._asked = False
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print_err(
            f"{signal.Signals(number).name}: running jobs save and leave, within {self._timeout_s:.0f} s; once more to "
            "leave at once"
        )

    def __enter__(self) -> "StopRequest":
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
