"""Each rank's sign of life: a small file that tells a dead process, a stopped one and one that waits apart.

`heartbeat-rank-R.json` in the job's folder, rewritten about once a second by a thread of its own (under a temporary
name, then renamed), for as long as the rank works:

    {"rank": 1, "attempt": 2, "pid": 4711, "host": "node3", "time": 1764032400.2,
     "phase": "training", "step": 120, "batch": 0, "waiting": true, "step_time": 1764032399.8, "still_s": 0.4}

- `phase`: `starting` (until the first step of this attempt is finished), `training`, `saving`, `evaluating`,
  `predicting`; at the end `done`, `stopped` or `failed`. `step`: finished steps since the job's start; `batch`:
  finished batches of an evaluation or prediction, 0 otherwise. `waiting`: in a step or an agreement, where ranks wait
  for each other. `attempt` is 0 until the ranks agreed on its number.
- `time`: unix seconds of this writing; `step_time`: when phase, step or batch last changed. `still_s` is their
  distance by a clock that does not jump.
- A rank that waits in a collective or hangs goes on writing, and its `still_s` grows. A process that is stopped,
  killed or on a host that is gone writes nothing any more: its file does not change. A reader on another host should
  time that with its own clock, from when it last saw `time` change, and look only at files of pids that it started.
- A host without room cannot write it either; the checkpoint that fails for the same reason then says so.
"""

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from data_tools.errors import Stopped
from data_tools.files import UNFINISHED

logger = logging.getLogger(__name__)

EVERY_S = 1.0


def heartbeat_path(folder: Path, rank: int) -> Path:
    """The heartbeat file of one rank in a job's folder."""
    return folder / f"heartbeat-rank-{rank}.json"


class Heartbeat:
    """Context in which a thread writes this rank's heartbeat; `at` tells it what the rank is doing."""

    def __init__(self, folder: Path, *, rank: int, every_s: float = EVERY_S) -> None:
        self.attempt = 0
        self.waiting = False
        """Set where ranks wait for each other; `at` takes it back."""
        self._path = heartbeat_path(folder, rank)
        self._rank = rank
        self._every_s = every_s
        self._now: tuple[str, int, int] = ("starting", 0, 0)
        self._changed = (time.time(), time.monotonic())
        self._ended = threading.Event()
        self._unwritten = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def at(self, phase: str, *, step: int | None = None, batch: int = 0) -> None:
        """Tell what this rank is doing, `step` finished steps in (None: as before); costs no more than a note."""
        self.waiting = False
        self._now = (phase, self._now[1] if step is None else step, batch)
        self._changed = (time.time(), time.monotonic())

    @property
    def phase(self) -> str:
        """What this rank last said that it is doing."""
        return self._now[0]

    def write(self) -> None:
        """Rewrite the file once. A file that cannot be written is told once and is no reason to stop."""
        (phase, step, batch), (step_time, since) = self._now, self._changed
        content = {
            "rank": self._rank,
            "attempt": self.attempt,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "time": time.time(),
            "phase": phase,
            "step": step,
            "batch": batch,
            "waiting": self.waiting,
            "step_time": step_time,
            "still_s": round(time.monotonic() - since, 3),
        }
        # The same name every time: a killed writer leaves one such file, not one a kill.
        temporary = self._path.with_name(f"{UNFINISHED}{self._path.name}")
        try:
            temporary.write_text(json.dumps(content) + "\n")
            temporary.replace(self._path)
        except OSError as error:
            if not self._unwritten:
                logger.warning("%s: the heartbeat cannot be written (%s)", self._path, error)
            self._unwritten = True
        else:
            self._unwritten = False

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            self.write()

    def __enter__(self) -> "Heartbeat":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if error is not None:
            self.at("stopped" if isinstance(error, Stopped) else "failed")
        self.write()
