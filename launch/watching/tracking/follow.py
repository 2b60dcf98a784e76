"""Program: follow a run folder and keep an MLflow server up to date, until the run's driver says how it ended.

    python -m launch.watching.tracking.follow RUN URI EXPERIMENT

Reads one line from standard input when the run ends: finished, failed or stopped; its end alone means that the driver
was killed. Prints lines for the user, one at most. A process of its own, since importing MLflow takes seconds and a
server may hang, and neither may cost training anything.
"""

import fcntl
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from data_tools.errors import UserError
from launch.watching.tracking.server import Server, ServerError, Status
from launch.watching.tracking.sync import Sync

LOCK = "mlflow.lock"
POLL_S = 2.0
RETRY_S = 30.0
"""Wait after a request that failed."""
ENDINGS: dict[str, Status] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "": "KILLED"}


def main(arguments: Sequence[str]) -> int:
    """Entry point; the exit status, which nobody depends on."""
    folder, uri, experiment = arguments
    terminal = os.fdopen(os.dup(1), "w", buffering=1)
    # MLflow prints addresses of its runs; standard error is a file.
    os.dup2(2, 1)

    def say(reason: str) -> None:
        terminal.write(f"MLflow at {uri}: {reason}; the run continues, and what is missing is sent later\n")

    lock = (Path(folder) / LOCK).open("a")

    def connect() -> Sync | None:
        return Sync(Path(folder), Server(uri), uri=uri, experiment=experiment) if is_free(lock) else None

    # The process boundary: whatever MLflow raises is one line, and a traceback in the log.
    try:
        follow(connect, wait=wait_for_end, say=say)
    except Exception as error:
        say(f"{type(error).__name__}: {error}".splitlines()[0])
        raise
    return 0


def is_free(lock: TextIO) -> bool:
    """Whether this process follows the run alone; it holds `lock` from then on.

    Another one may belong to a driver that was just killed, or to another stage of the run that is trained by hand.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # This file system has no locks.
    return True


def follow(
    connect: Callable[[], Sync | None], *, wait: Callable[[float], str | None], say: Callable[[str], None]
) -> None:
    """Send what is new every POLL_S seconds, and for the last time at the end.

    connect: None while another process follows the run, which sends everything. wait: waits up to that many seconds
    for the end; how the run ended, None: it continues. say: gets the reason of the first failure, and no other.
    """
    sync: Sync | None = None
    said, ending = False, None
    while ending is None:
        pause = POLL_S
        try:
            sync = sync or connect()
            if sync is not None:
                sync.send()
        except (ServerError, UserError, OSError) as error:
            pause = RETRY_S
            said = said or _say(say, error)
        ending = wait(pause)
    try:
        sync = sync or connect()
        if sync is not None:
            sync.send(ENDINGS.get(ending, "KILLED"))
    except (ServerError, UserError, OSError) as error:
        said = said or _say(say, error)


def _say(say: Callable[[str], None], error: Exception) -> bool:
    say(str(error))
    return True


def wait_for_end(limit_s: float) -> str | None:
    """Wait up to `limit_s` seconds for a line on standard input, or its end: the line without its newline."""
    until = time.monotonic() + limit_s
    ready, _, _ = select.select([sys.stdin], [], [], max(0.0, until - time.monotonic()))
    return sys.stdin.readline().strip() if ready else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
