"""Detects a rank that neither ends nor fails but hangs: a decision from the heartbeats of its world.

A target that keeps heartbeats rewrites a small JSON file for each rank, `heartbeat-rank-R.json` in a folder that the
driver sees, from a separate thread, at the intervals of `data_tools.protocol`:

    {"pid": 4711, "time": 1764032400.2, "phase": "training", "step": 120, "batch": 0, "waiting": true, "still_s": 0.4}

`time` (unix seconds) changes with every write, so a file whose `time` stays belongs to a process that is stopped or out
of reach. Clocks of hosts differ, so the reader measures the age from when it last saw a change. `phase`, `step` and
`batch` are what the rank is doing; `still_s` is how long they have not changed, by the writer's clock. `waiting` (false
where it is missing): the rank is where ranks wait for each other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_tools.protocol import heartbeat_path, heartbeat_s, pulse_s

PAUSE_S = 20.0
"""A reader that has not looked for this long was stopped itself, perhaps together with all that it watches."""
AFTER_PAUSE_S = 60.0
"""How long no rank counts as hung after such a pause."""
SUSPICIOUS_S = 20.0
"""A rank that has done nothing new for this long may be why other ranks wait."""
TRAINING = "training"
"""The phase in which steps follow each other; `step_s` is its limit, `phase_s` that of every other phase."""
ENDING = "done", "stopped", "failed"
"""Phases after which a rank writes nothing more, since its target returns."""


@dataclass(frozen=True)
class Limits:
    """Seconds after which a rank counts as hung; 0 turns a limit off.

    silence_s: without a heartbeat, on top of the interval at which heartbeats come. step_s: without a step while it
    trains. phase_s: without anything new in any other phase.
    """

    silence_s: float
    step_s: float
    phase_s: float


@dataclass(frozen=True)
class Heartbeat:
    """The content of one heartbeat file."""

    time: float
    phase: str
    step: int
    batch: int = 0
    still_s: float = 0.0
    waiting: bool = False

    def position(self) -> str:
        """In words: `training, step 120`."""
        return f"{self.phase}, step {self.step}" + (f", batch {self.batch}" if self.batch else "")


@dataclass(frozen=True)
class Observation:
    """The newest heartbeat of a rank, and when the reader (seconds of its clock) first saw it.

    Without a heartbeat, `since` is when the reader began to look.
    """

    since: float
    heartbeat: Heartbeat | None = None

    def silent_s(self, now: float) -> float:
        """Seconds since the rank's last new heartbeat."""
        return now - self.since

    def still_s(self, now: float) -> float:
        """Seconds since the rank last did something new."""
        return self.silent_s(now) + (self.heartbeat.still_s if self.heartbeat else 0.0)


@dataclass(frozen=True)
class Hang:
    """The rank that is most probably the cause, and the message about it; `also`: what the other ranks are doing."""

    rank: int
    message: str
    also: tuple[str, ...] = ()


def observe(before: Observation, heartbeat: Heartbeat | None, *, now: float) -> Observation:
    """The observation of a rank after its file was read: a new `time` is a sign of life."""
    if heartbeat is None or (before.heartbeat is not None and before.heartbeat.time == heartbeat.time):
        return before
    return Observation(now, heartbeat)


def judge(observations: Sequence[Observation], limits: Limits, *, now: float) -> Hang | None:
    """The hang of a world, given the observations of its ranks in order; None where there is none.

    A silent rank is why all others wait, so silence comes first; of several silent ranks, the one silent for longest.
    Where a rank writes heartbeats and makes no progress, the cause is the rank that is furthest behind. It need not be
    the one that reaches its limit first: a rank that waits may have come to the same step a moment earlier.
    """
    silent = [rank for rank, one in enumerate(observations) if _too_silent(one, limits, now=now)]
    if silent:
        rank = max(silent, key=lambda r: observations[r].silent_s(now))
        return _hang(observations, rank, now=now)
    still = {rank for rank, one in enumerate(observations) if _too_still(one, limits, now=now)}
    if not still:
        return None
    suspicious = {rank for rank, one in enumerate(observations) if _suspicious(one, now=now)}
    return _hang(observations, furthest_behind(observations, sorted(still | suspicious), now=now), now=now)


def furthest_behind(observations: Sequence[Observation], ranks: Sequence[int], *, now: float) -> int:
    """Of `ranks`, the one with the fewest steps and batches; of equals, one that does not wait for the others; of such
    equals, the one that got there first.
    """

    def place(rank: int) -> tuple[int, int, bool, float]:
        last = observations[rank].heartbeat
        return (last.step, last.batch, last.waiting, -observations[rank].still_s(now)) if last else (-1, 0, False, 0.0)

    return min(ranks, key=place)


def describe(observation: Observation, *, now: float) -> str:
    """In words: what a rank was last doing, and since when."""
    if observation.heartbeat is None:
        return f"no heartbeat since it was started {observation.silent_s(now):.0f} s ago"
    position = f"in {observation.heartbeat.position()} for {observation.still_s(now):.0f} s"
    return f"{position}, silent for {observation.silent_s(now):.0f} s"


def _ended(observation: Observation) -> bool:
    return observation.heartbeat is not None and observation.heartbeat.phase in ENDING


def _suspicious(observation: Observation, *, now: float) -> bool:
    return not _ended(observation) and observation.still_s(now) > SUSPICIOUS_S


def _too_silent(observation: Observation, limits: Limits, *, now: float) -> bool:
    if _ended(observation):
        return False
    limit = limits.silence_s if observation.heartbeat else limits.phase_s
    return bool(limit) and observation.silent_s(now) > limit


def _too_still(observation: Observation, limits: Limits, *, now: float) -> bool:
    last = observation.heartbeat
    if last is None or _ended(observation):
        return False
    limit = limits.step_s if last.phase == TRAINING else limits.phase_s
    return bool(limit) and observation.still_s(now) > limit


def _hang(observations: Sequence[Observation], rank: int, *, now: float) -> Hang:
    others = [other for other in range(len(observations)) if other != rank]
    also = tuple(f"rank {other}: {describe(observations[other], now=now)}" for other in others)
    return Hang(rank, f"it hangs: {describe(observations[rank], now=now)}", also)


def read_heartbeat(path: Path, *, pid: int) -> Heartbeat | None:
    """The heartbeat in `path`; None where there is none (yet), it is unreadable, or of another process than `pid`."""
    try:
        found = json.loads(path.read_text())
        if int(found["pid"]) != pid:
            return None
        return Heartbeat(
            float(found["time"]),
            str(found["phase"]),
            int(found.get("step") or 0),
            int(found.get("batch") or 0),
            float(found.get("still_s") or 0.0),
            bool(found.get("waiting")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def allowed_silence_s(world_size: int) -> float:
    """Seconds that a live rank's heartbeat may seem to be late: until it is written, and until it is read again."""
    rank = world_size - 1
    return pulse_s(rank, world_size) + heartbeat_s(rank, world_size)


class Watch:
    """Follows the heartbeats of one world: `pids` by rank, files in `folder`; `now` is any clock in seconds.

    A rank's file is read no more often than it is written, so that the driver's reads do not grow with the world.
    """

    def __init__(self, folder: Path, pids: Sequence[int], *, limits: Limits, now: float) -> None:
        self._folder, self._pids = folder, pids
        self._slack_s = allowed_silence_s(len(pids))
        silence_s = limits.silence_s + self._slack_s if limits.silence_s else 0.0
        self._limits = replace(limits, silence_s=silence_s)
        self._observations = [Observation(now) for _ in pids]
        self._due = [now] * len(pids)
        self._looked = self._trusted = now

    def look(self, now: float) -> Hang | None:
        """Read the files that are due; the hang that they show, if any."""
        self._observations = [self._read(rank, now) for rank in range(len(self._pids))]
        if now - self._looked > PAUSE_S:
            self._observations = [replace(one, since=now) for one in self._observations]
            self._trusted = now + AFTER_PAUSE_S
        self._looked = now
        return judge(self._observations, self._limits, now=now) if now >= self._trusted else None

    def about(self, rank: int, now: float) -> Hang:
        """The hang of which `rank` is known to be the cause."""
        return _hang(self._observations, rank, now=now)

    def suspect(self, ranks: Sequence[int], now: float) -> Hang | None:
        """The one of `ranks`, for which all others gave up waiting, that is the cause.

        None where all of them did something new just now.
        """
        silent = [rank for rank in ranks if self._observations[rank].silent_s(now) > self._slack_s]
        if silent:
            rank = max(silent, key=lambda r: self._observations[r].silent_s(now))
        else:
            rank = furthest_behind(self._observations, ranks, now=now)
        return (
            _hang(self._observations, rank, now=now) if self._observations[rank].still_s(now) > SUSPICIOUS_S else None
        )

    def _read(self, rank: int, now: float) -> Observation:
        if now < self._due[rank]:
            return self._observations[rank]
        self._due[rank] = now + heartbeat_s(rank, len(self._pids))
        heartbeat = read_heartbeat(heartbeat_path(self._folder, rank), pid=self._pids[rank])
        return observe(self._observations[rank], heartbeat, now=now)
