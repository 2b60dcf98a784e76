"""The stop request of a whole run: the first signal lets all jobs save and exit, the second ends the command."""

import signal
from collections.abc import Sequence

from data_tools.stop import StopRequest
from launch.terminal.console import print_err

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def stop_request(*, timeout_s: float) -> StopRequest:
    """Context that records Ctrl-C, SIGTERM and the loss of the terminal; a second signal raises KeyboardInterrupt.

    timeout_s: seconds within which jobs save, as the message says. A signal that is ignored (SIGHUP under nohup)
    stays ignored.
    """

    def on_signal(received: Sequence[int]) -> None:
        if len(received) > 1:
            raise KeyboardInterrupt
        print_err(
            f"{signal.Signals(received[0]).name}: running jobs save and exit within {timeout_s:.0f} s; "
            "send the signal again to exit at once"
        )

    wanted = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    return StopRequest(wanted, on_signal=on_signal)
