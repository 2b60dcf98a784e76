"""The process that follows a run for MLflow, started and ended by the run's driver."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_tools.files import PROJECT_ROOT
from launch.config import Config
from launch.watching.tracking.server import require_mlflow

LOG = "mlflow.log"
END_S = 20.0
"""How long the process may take, at the end of a run, to send the rest."""

Ending = Literal["finished", "failed", "stopped"]


@dataclass
class RunEnd:
    """How a run ends, as far as its driver knows by now."""

    how: Ending = "failed"


class Follower:
    """A running process of `launch.watching.tracking.follow`; `say` gets its lines for the user."""

    def __init__(self, command: list[str], log: Path, *, say: Callable[[str], None]) -> None:
        self._say, self._said = say, False
        path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
        with contextlib.ExitStack() as files:
            try:
                errors = files.enter_context(log.open("ab"))
            except OSError:
                errors = files.enter_context(Path(os.devnull).open("ab"))
            # A session of its own: Ctrl-C in the terminal is for the driver, which still has something to send.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                start_new_session=True, env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        self._thread = threading.Thread(target=self._forward, name="mlflow", daemon=True)
        self._thread.start()

    def _forward(self) -> None:
        for line in self._process.stdout or ():
            self._said = True
            self._say(line.rstrip())

    def end(self, how: Ending, *, timeout_s: float) -> None:
        """Let the process send the rest, for `timeout_s` seconds at most."""
        with contextlib.suppress(OSError):  # It has ended already.
            if self._process.stdin:
                self._process.stdin.write(f"{how}\n")
                self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            if not self._said:
                self._say("MLflow: not everything could be sent in time; the same command sends the rest")
        self._thread.join()


def check_tracking(config: Config) -> None:
    """Check, before anything else is done, that the run can be followed.

    Raises:
        UserError: MLflow is not installed.
    """
    if config.tracking.mlflow is not None:
        require_mlflow()


@contextlib.contextmanager
def followed(config: Config, *, say: Callable[[str], None]) -> Iterator[RunEnd]:
    """Context in which the run is followed for the MLflow server of `tracking.mlflow`, if there is one.

    The caller sets how the run ends; an exception that leaves the block ends it as failed, an interrupt as stopped.
    """
    uri, end = config.tracking.mlflow, RunEnd()
    if uri is None:
        yield end
        return
    run = config.paths.run
    command = [sys.executable, "-m", "launch.watching.tracking.follow", str(run), uri, config.tracking.experiment]
    follower = Follower(command, run / LOG, say=say)
    try:
        yield end
    except KeyboardInterrupt:
        end.how = "stopped"
        raise
    finally:
        follower.end(end.how, timeout_s=END_S)
