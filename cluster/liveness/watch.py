"""When a rank that neither ends nor fails has hung: a decision from heartbeats, and what it is told as.

A target that keeps heartbeats rewrites a small JSON file for each rank, `heartbeat-rank-R.json` in a folder that the
driver sees, about once a second from a thread of its own:

    {"pid": 4711, "time": 1764032400.2, "phase": "training", "step": 120, "batch": 0, "waiting": true, "still_s": 0.4}

`time` (unix seconds) changes with every writing, so a file whose `time` stays belongs to a process that is stopped or
out of reach; hosts' clocks differ, so the age is measured by the reader, from when it last saw a change. `phase`,
`step` and `batch` are what the rank is doing; `still_s` is how long they have been the same, by the writer's clock.
`waiting` (false where it is left out): it is where ranks wait for each other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PAUSE_S = 20.0
"""A reader that has not looked for so long was stopped itself, perhaps with all that it watches."""
AFTER_PAUSE_S = 60.0
"""How long nothing is held against anybody after such a pause."""
SUSPICIOUS_S = 20.0
"""A rank that has done nothing new for so long may be why the others gave up waiting."""
TRAINING = "training"
"""The phase in which steps follow each other; every other one is given `phase_s`."""
ENDING = "done", "stopped", "failed"
"""Phases after which a rank writes nothing more, since its target returns."""


@dataclass(frozen=True)
class Limits:
    """How long a rank may be silent; do nothing new while it trains; and in any other phase. Seconds; 0: for ever."""

    silence_s: float
    step_s: float
    phase_s: float


@dataclass(frozen=True)
class Beat:
    """What one heartbeat file says."""

    time: float
    phase: str
    step: int
    batch: int = 0
    still_s: float = 0.0
    waiting: bool = False

    def doing(self) -> str:
        """In words: `training, step 120`."""
        return f"{self.phase}, step {self.step}" + (f", batch {self.batch}" if self.batch else "")


@dataclass(frozen=True)
class Sight:
    """The newest beat of a rank, and when (seconds of the reader's clock) it was first seen; no beat: since when."""

    since: float
    beat: Beat | None = None

    def silent_s(self, now: float) -> float:
        """How long nothing new has come from the rank."""
        return now - self.since

    def still_s(self, now: float) -> float:
        """How long the rank has been at the same thing."""
        return self.silent_s(now) + (self.beat.still_s if self.beat else 0.0)


@dataclass(frozen=True)
class Hang:
    """The rank that is most probably the cause, and what is told of it; `also`: what the others are doing."""

    rank: int
    message: str
    also: tuple[str, ...] = ()


def see(before: Sight, beat: Beat | None, *, now: float) -> Sight:
    """What is known of a rank after its file was looked at: a new `time` is a sign of life."""
    if beat is None or (before.beat is not None and before.beat.time == beat.time):
        return before
    return Sight(now, beat)


def judge(sights: Sequence[Sight], limits: Limits, *, now: float) -> Hang | None:
    """The hang of a world, given the sights of its ranks in order, or None where there is none.

    A silent rank is the cause of all that wait for it, so silence comes first; among several, the rank that has been
    silent longest. Where all give signs and nothing goes on, it is the rank that is furthest behind.
    """
    silent = [rank for rank, sight in enumerate(sights) if _too_silent(sight, limits, now)]
    if silent:
        rank = max(silent, key=lambda r: sights[r].silent_s(now))
        return _hang(sights, rank, now)
    still = [rank for rank, sight in enumerate(sights) if _too_still(sight, limits, now)]
    return _hang(sights, furthest_behind(sights, still, now), now) if still else None


def furthest_behind(sights: Sequence[Sight], ranks: Sequence[int], now: float) -> int:
    """Of `ranks`, the one with the fewest steps and batches; of equals, one that does not wait for the others; of such
    equals, the one that came there first.
    """

    def place(rank: int) -> tuple[int, int, bool, float]:
        beat = sights[rank].beat
        return (beat.step, beat.batch, beat.waiting, -sights[rank].still_s(now)) if beat else (-1, 0, False, 0.0)

    return min(ranks, key=place)


def describe(sight: Sight, *, now: float) -> str:
    """What one rank was last known to be doing, and since when."""
    if sight.beat is None:
        return f"no sign of life since it was started {sight.silent_s(now):.0f} s ago"
    doing = f"in {sight.beat.doing()} for {sight.still_s(now):.0f} s"
    return f"{doing}, silent for {sight.silent_s(now):.0f} s"


def _too_silent(sight: Sight, limits: Limits, now: float) -> bool:
    if sight.beat is not None and sight.beat.phase in ENDING:
        return False
    limit = limits.silence_s if sight.beat else limits.phase_s
    return bool(limit) and sight.silent_s(now) > limit


def _too_still(sight: Sight, limits: Limits, now: float) -> bool:
    if sight.beat is None or sight.beat.phase in ENDING:
        return False
    limit = limits.step_s if sight.beat.phase == TRAINING else limits.phase_s
    return bool(limit) and sight.still_s(now) > limit


def _hang(sights: Sequence[Sight], rank: int, now: float) -> Hang:
    others = [other for other in range(len(sights)) if other != rank]
    also = tuple(f"rank {other}: {describe(sights[other], now=now)}" for other in others)
    return Hang(rank, f"it hangs: {describe(sights[rank], now=now)}", also)


def heartbeat_path(folder: Path, rank: int) -> Path:
    """The heartbeat file of one rank."""
    return folder / f"heartbeat-rank-{rank}.json"


def read_beat(path: Path, *, pid: int) -> Beat | None:
    """The heartbeat in `path`, or None: it is not there (yet), not readable, or of another process than `pid`."""
    try:
        found = json.loads(path.read_text())
        if int(found["pid"]) != pid:
            return None
        return Beat(
            float(found["time"]),
            str(found["phase"]),
            int(found.get("step") or 0),
            int(found.get("batch") or 0),
            float(found.get("still_s") or 0.0),
            bool(found.get("waiting")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Watch:
    """Follows the heartbeats of one world: `pids` by rank, files in `folder`; `now` is any clock in seconds."""

    def __init__(self, folder: Path, pids: Sequence[int], limits: Limits, *, now: float) -> None:
        self._folder, self._pids, self._limits = folder, pids, limits
        self._sights = [Sight(now) for _ in pids]
        self._looked = self._trusted = now

    def look(self, now: float) -> Hang | None:
        """Read all files once; the hang that they show, if any."""
        beats = [read_beat(heartbeat_path(self._folder, rank), pid=pid) for rank, pid in enumerate(self._pids)]
        self._sights = [see(sight, beat, now=now) for sight, beat in zip(self._sights, beats, strict=True)]
        if now - self._looked > PAUSE_S:
            self._sights = [replace(sight, since=now) for sight in self._sights]
            self._trusted = now + AFTER_PAUSE_S
        self._looked = now
        return judge(self._sights, self._limits, now=now) if now >= self._trusted else None

    def about(self, rank: int, now: float) -> Hang:
        """The hang of which `rank` is known to be the cause."""
        return _hang(self._sights, rank, now)

    def suspect(self, ranks: Sequence[int], now: float) -> Hang | None:
        """Which of `ranks`, for which the others gave up waiting, is the cause; None where all went on just now."""
        silent = max(self._sights[rank].silent_s(now) for rank in ranks)
        quiet = [rank for rank in ranks if self._sights[rank].silent_s(now) == silent]
        rank = furthest_behind(self._sights, quiet, now)
        return _hang(self._sights, rank, now) if self._sights[rank].still_s(now) > SUSPICIOUS_S else None
