"""Each rank's heartbeat: a small file by which a reader distinguishes dead, stopped and waiting processes.

`heartbeat-rank-R.json` in the job's folder, rewritten by a separate thread for as long as the rank works (under a
temporary name, then renamed):

    {"rank": 1, "attempt": 2, "pid": 4711, "host": "node3", "time": 1764032400.2,
     "phase": "training", "step": 120, "batch": 0, "waiting": true, "step_time": 1764032399.8, "still_s": 0.4}

- Interval: `data_tools.protocol.heartbeat_s` while something changes, `pulse_s` while nothing does.
- `phase`: `starting` (until the first step of this attempt is finished), `training`, `saving`, `evaluating`,
  `predicting`; at the end `done`, `stopped` or `failed`. `step`: finished steps since the job's start; `batch`:
  finished batches of an evaluation or prediction, 0 otherwise. `waiting`: in a step or an agreement, where ranks wait
  for each other. `attempt` is the previous attempt's number until the ranks have agreed on this one's.
- `time`: unix seconds of this write; `step_time`: when phase, step or batch last changed. `still_s` is the time between
  them in seconds, by a clock that does not jump.
- Rank 0's file also holds the figures that a person follows: `job`, `world_size`, `epoch`, `epochs`, `steps`,
  `steps_per_epoch`, `loss`, `accuracy`, `pages_per_s`, `step_s`, `epoch_end_s`, those that are known so far, and
  `doing`, the part of its start that a job is at.
- A rank that waits in a collective, or hangs, still writes, and its `still_s` grows. A process that is stopped, killed,
  or on a host that is down writes nothing more: its file does not change. A reader on another host times that with its
  own clock, from when it last saw `time` change, and considers only files of pids that it started.
- A host with a full disk cannot write the file; the checkpoint that fails for the same reason reports it.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from data_tools.errors import Stopped, UserError
from data_tools.files import UNFINISHED, read_json
from data_tools.protocol import heartbeat_path, heartbeat_s, pulse_s

logger = logging.getLogger(__name__)


def recorded_attempt(folder: Path, rank: int) -> int:
    """The attempt number in a rank's heartbeat file; 0 where there is none, or a crash has truncated it."""
    try:
        return int(read_json(heartbeat_path(folder, rank)).get("attempt", 0))
    except (UserError, TypeError, ValueError, AttributeError):
        return 0


class Heartbeat:
    """Context in which a thread writes this rank's heartbeat file; `at` sets what the rank is doing.

    every_s, pulse_s: the intervals in seconds; null takes those of `data_tools.protocol` for the world size.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rank: int,
        world_size: int = 1,
        every_s: float | None = None,
        pulse_s: float | None = None,
    ) -> None:
        self.attempt = 0
        self.waiting = False
        """Set where ranks wait for each other; `at` clears it."""
        self._path = heartbeat_path(folder, rank)
        self._rank = rank
        self._every_s, self._pulse_s = _intervals(rank, world_size, every_s, pulse_s)
        self._now: tuple[str, int, int] = ("starting", 0, 0)
        self._figures: dict[str, Any] = {}
        self._changed = (time.time(), time.monotonic())
        self._last: tuple[object, float] = (None, float("-inf"))
        self._ended = threading.Event()
        self._unwritten = False
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def at(self, phase: str, *, step: int | None = None, batch: int = 0) -> None:
        """Set what this rank is doing, after `step` finished steps (null: unchanged). Writes nothing itself."""
        self.waiting = False
        self._now = (phase, self._now[1] if step is None else step, batch)
        self._changed = (time.time(), time.monotonic())

    def start_attempt(self, number: int) -> None:
        """Set the attempt's number and write it at once: a process killed right after it has started counts, too."""
        self.attempt = number
        self.write()

    def report(self, phase: str, figures: Mapping[str, Any]) -> None:
        """Set the phase and the figures that a person follows; the next heartbeat holds them."""
        self._figures = dict(figures)
        if phase != self.phase:
            self.at(phase, step=figures.get("step"))

    @property
    def phase(self) -> str:
        """The phase that was set last."""
        return self._now[0]

    def write_if_due(self, now: float) -> bool:
        """Write the file if its content has changed or the pulse is due; whether it did. now: monotonic seconds."""
        state = (self._now, self._figures, self.waiting, self.attempt)
        before, written = self._last
        if state == before and now - written < self._pulse_s:
            return False
        self._last = (state, now)
        self.write()
        return True

    def write(self) -> None:
        """Rewrite the file once. A file that cannot be written is logged once and does not stop the job."""
        (phase, step, batch), (step_time, since) = self._now, self._changed
        content = self._figures | {
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
        # Always the same temporary name, so that killed writers leave one such file in all.
        temporary = self._path.with_name(f"{UNFINISHED}{self._path.name}")
        try:
            with self._writing:
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
            self.write_if_due(time.monotonic())

    def __enter__(self) -> "Heartbeat":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Kept until the ranks agree on the next number: a process killed before that must not lose the count.
        self.attempt = recorded_attempt(self._path.parent, self._rank)
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


def _intervals(rank: int, world_size: int, every_s: float | None, longest_s: float | None) -> tuple[float, float]:
    return (
        heartbeat_s(rank, world_size) if every_s is None else every_s,
        pulse_s(rank, world_size) if longest_s is None else longest_s,
    )
