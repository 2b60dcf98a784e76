"""When a rank hangs: the decision as a table, and the files that it is taken from."""

import json
import math
from pathlib import Path

import pytest

from cluster.liveness.watch import (
    AFTER_PAUSE_S,
    PAUSE_S,
    Hang,
    Heartbeat,
    Limits,
    Observation,
    Watch,
    allowed_silence_s,
    judge,
    observe,
)
from data_tools.protocol import heartbeat_path

LIMITS = Limits(silence_s=300, step_s=900, phase_s=3600)
NOW = 10_000.0


def observation(
    silent_s: float,
    phase: str = "training",
    step: int = 7,
    *,
    still_s: float = 0.0,
    batch: int = 0,
    waiting: bool = False,
) -> Observation:
    return Observation(NOW - silent_s, Heartbeat(1.0, phase, step, batch, still_s, waiting))


NONE_YET = Observation(NOW - 3599)
# observations by rank -> the rank that is the cause, or None
TABLE = [
    ([observation(1), observation(2)], None),
    ([observation(299, still_s=500), observation(1, still_s=899 - 1)], None),  # slow, and alive
    ([observation(1), observation(301)], 1),  # SIGSTOP, or a host that is gone
    ([observation(400), observation(301)], 0),  # silent longest
    ([observation(1, still_s=900), observation(1, still_s=10)], 0),  # lives, and trains no step
    ([observation(1, step=8, still_s=950), observation(1, step=7, still_s=950)], 1),  # furthest behind
    ([observation(1, still_s=901), observation(1, still_s=950)], 1),  # of equals, the one that was there first
    ([observation(1, still_s=950, waiting=True), observation(1, still_s=901)], 1),  # unless it waits for the other
    ([observation(1, still_s=901, waiting=True), observation(1, still_s=890)], 1),  # also if it was there first
    ([observation(1, step=8, still_s=901, waiting=True), observation(1, "saving", still_s=895)], 1),  # in another phase
    ([observation(1, still_s=901, waiting=True), observation(1, still_s=5)], 0),  # the other did something new just now
    ([observation(1, still_s=901, waiting=True), observation(400, "failed", still_s=0)], 0),  # that one has returned
    ([observation(1, still_s=3000), observation(301, still_s=5)], 1),  # silence first: the others wait for it
    ([observation(1, "starting", 0, still_s=3590)], None),  # tracing, compiling
    ([observation(1, "starting", 0, still_s=3600)], 0),
    ([observation(1, "evaluating", still_s=3590), observation(1, "saving", still_s=1000)], None),
    ([observation(1, "evaluating", batch=4, still_s=3700), observation(1, "evaluating", batch=3, still_s=3600)], 1),
    ([NONE_YET, observation(1)], None),  # imports, joins the world
    ([Observation(NOW - 3601), observation(1)], 0),
    ([observation(4000, "done"), observation(1)], None),  # returns; writes no more
]


@pytest.mark.parametrize(("observations", "cause"), TABLE)
def test_judge(observations: list[Observation], cause: int | None) -> None:
    hang = judge(observations, LIMITS, now=NOW)
    assert (hang.rank if hang else None) == cause


def test_the_message_names_rank_position_and_time() -> None:
    hang = judge([observation(1, step=8, still_s=20), observation(301, still_s=2)], LIMITS, now=NOW)
    other = "rank 0: in training, step 8 for 21 s, silent for 1 s"
    assert hang == Hang(1, "it hangs: in training, step 7 for 303 s, silent for 301 s", (other,))
    absent = judge([Observation(NOW - 4000)], LIMITS, now=NOW)
    assert absent is not None
    assert absent.message == "it hangs: no heartbeat since it was started 4000 s ago"


def test_0_turns_a_limit_off() -> None:
    unlimited = Limits(0, 0, 0)
    observations = [
        observation(1e6),
        observation(1, still_s=1e6),
        observation(1, "starting", still_s=1e6),
        Observation(NOW - 1e6),
    ]
    assert judge(observations, unlimited, now=NOW) is None


def test_any_change_of_time_is_a_sign_of_life() -> None:
    first = observe(Observation(0.0), Heartbeat(5000.0, "training", 7), now=1.0)
    assert first.since == 1.0
    assert observe(first, Heartbeat(5000.0, "training", 7), now=9.0) is first, "the same file again"
    assert observe(first, Heartbeat(4000.0, "training", 7), now=9.0).since == 9.0, "a clock that was put back"
    assert observe(first, None, now=9.0) is first, "a file that cannot be read just now"


def write(folder: Path, rank: int, **values: object) -> None:
    beat = {"pid": 100 + rank, "time": 1.0, "phase": "training", "step": 3, "batch": 0, "still_s": 0.5}
    heartbeat_path(folder, rank).write_text(json.dumps(beat | values))


def test_the_files_of_a_world(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [100, 101], limits=LIMITS, now=0.0)
    write(tmp_path, 0)
    write(tmp_path, 1, pid=99)  # an earlier attempt's
    clock, written = 0.0, 1.0
    hang = None
    while hang is None and clock < 5000.0:
        clock, written = clock + 1.0, written + 1.0
        if clock < 100.0:
            write(tmp_path, 0, time=written)
        hang = watch.look(clock)
    assert hang is not None
    assert (hang.rank, clock) == (0, 400.0 + allowed_silence_s(2))
    assert hang.also == ("rank 1: no heartbeat since it was started 406 s ago",)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 100}', '{"pid": 100, "time": "x", "phase": "p"}'])
def test_a_corrupt_heartbeat_is_ignored(tmp_path: Path, content: str) -> None:
    watch = Watch(tmp_path, [100], limits=LIMITS, now=0.0)
    heartbeat_path(tmp_path, 0).write_text(content)
    assert watch.look(1.0) is None


def test_after_the_reader_was_suspended_no_rank_hangs_for_a_while(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [100], limits=LIMITS, now=0.0)
    write(tmp_path, 0)
    assert watch.look(1.0) is None
    late = 1.0 + PAUSE_S + 5000.0
    write(tmp_path, 0, time=2.0, still_s=5000.0)
    assert watch.look(late) is None, "the whole machine slept"
    moment = late
    while moment < late + AFTER_PAUSE_S - 1.0:
        moment += 1.0
        assert watch.look(moment) is None
    assert watch.look(late + AFTER_PAUSE_S) is not None, "and still makes no progress"


def test_the_rank_that_the_others_gave_up_waiting_for(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [100, 101, 102], limits=LIMITS, now=0.0)
    for rank in range(3):
        write(tmp_path, rank)
    for moment in range(1, 61):
        for rank in (0, 2):
            write(tmp_path, rank, time=float(moment), still_s=float(moment))
        watch.look(float(moment))
    suspect = watch.suspect([1, 2], 60.0)
    assert suspect is not None
    assert suspect.rank == 1, "silent"
    assert suspect.message == "it hangs: in training, step 3 for 60 s, silent for 59 s"
    write(tmp_path, 2, time=99.0)
    watch.look(61.0)
    assert watch.suspect([2], 61.0) is None, "it made progress just now"


def test_silence_is_below_the_other_limits_by_default() -> None:
    from cluster.config import ClusterConfig

    limits, horovod = ClusterConfig().limits, ClusterConfig().horovod
    assert 0 < limits.silence_s < limits.step_s < limits.phase_s < math.inf
    assert 0 < horovod.stall_shutdown_s < limits.step_s, "Horovod first reports which tensor is missing"
