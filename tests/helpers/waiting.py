"""Wait for what other processes bring about."""

import time
from collections.abc import Callable

POLL_S = 0.05


def wait_until(holds: Callable[[], bool], what: str = "the condition", *, limit_s: float = 240.0) -> None:
    """Return once `holds()` is true.

    Raises:
        TimeoutError: it is still false after `limit_s` seconds; the text names `what`.
    """
    until = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {limit_s:.0f} s for {what}")
        time.sleep(POLL_S)
