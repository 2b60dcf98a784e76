"""The stop request for a whole run: the first signal lets all jobs save and exit, the second ends the command."""

import signal
from types import FrameType, TracebackType
from typing import Any

from launch.console import print_err

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class StopRequest:
    """Context that turns Ctrl-C, SIGTERM and SIGHUP (a closed terminal) into a stop request.

    A second signal raises KeyboardInterrupt. A signal that was ignored before (SIGHUP under nohup) stays ignored.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._received = False
        self._handlers_before: dict[int, Any] = {}

    def received(self) -> bool:
        """Whether a signal has arrived."""
        return self._received

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._received:
            raise KeyboardInterrupt
        self._received = True
        print_err(
            f"{signal.Signals(number).name}: running jobs save and exit, within {self._timeout_s:.0f} s; repeat to "
            "exit at once"
        )

    def __enter__(self) -> "StopRequest":
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._handlers_before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
