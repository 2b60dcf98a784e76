"""The scheduler against a backend that runs nothing: order, groups, failures, retries, lost hosts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from cluster.schedule.job import Ended, Event, Failure, JobOutcome, JobSpec, Started
from cluster.schedule.retry import RetryPolicy
from cluster.schedule.scheduler import StopRule, run_jobs
from cluster.schedule.slots import Group, Host, Slot
from data_tools.errors import UserError

DIED = Failure("died", "gone")
ONE_EACH = RetryPolicy(1, 1)
USER = Failure("user", "labels.txt:3: malformed")


@dataclass
class FakeBackend:
    """Ends one attempt a call, oldest first: `fails` says how, by (job, attempt), `lost` which host goes."""

    there: list[Host]
    fails: dict[tuple[str, int], Failure] = field(default_factory=dict)
    lost: dict[tuple[str, int], str] = field(default_factory=dict)
    running: dict[str, tuple[Group, int]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    up: bool = True
    back_at: float = float("inf")
    now: float = 0.0
    idle: list[Group] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.all_hosts = list(self.there)

    def hosts(self) -> Sequence[Host]:
        return self.all_hosts if self.now >= self.back_at else self.there

    def warm(self) -> Sequence[Group]:
        return self.idle

    def start(self, job: JobSpec, group: Group, *, attempt: int) -> None:
        used = {slot for other, _ in self.running.values() for slot in other.slots}
        assert used.isdisjoint(group.slots), "two jobs on one slot"
        self.running[job.name] = (group, attempt)
        self.log.append(f"+{job.name}")

    def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
        self.now += 1.0
        if not self.running:
            return []
        name = next(iter(self.running))
        _, attempt = self.running.pop(name)
        self.log.append(f"-{name}")
        if host := self.lost.get((name, attempt)):
            self.there = [h for h in self.there if h.name != host]
        return [
            Started(name, (), 0.0, 0.1),
            Ended(name, value=f"value of {name}", failure=self.fails.get((name, attempt))),
        ]

    def request_stop(self, job: str) -> bool:
        self.asked.append(job)
        return self.up

    def kill(self, job: str) -> None:
        self.stopped.append(job)


def recipe(*, workers: int | None = None) -> list[JobSpec]:
    regions = [JobSpec(name, "m:f", {}, workers=workers, depends_on=("whole",)) for name in ("top", "left")]
    stack = JobSpec("stack", "m:f", {}, workers=1, depends_on=("whole", "top", "left"))
    return [JobSpec("whole", "m:f", {}), *regions, stack]


def run(
    backend: FakeBackend, jobs: list[JobSpec], retries: RetryPolicy = ONE_EACH, *, stop: StopRule | None = None
) -> tuple[dict[str, JobOutcome], list[Event]]:
    events: list[Event] = []
    outcomes = run_jobs(
        jobs, backend=backend, retries=retries, on_event=events.append, stop=stop, clock=lambda: backend.now
    )
    return outcomes, events


def states(outcomes: dict[str, JobOutcome]) -> dict[str, str]:
    return {name: outcome.state for name, outcome in outcomes.items()}


# slots -> what was started (+) and ended (-), in order
ORDERS = [
    (1, "+whole -whole +top -top +left -left +stack -stack"),
    (2, "+whole -whole +top +left -top -left +stack -stack"),
    (8, "+whole -whole +top +left -top -left +stack -stack"),
]


@pytest.mark.parametrize(("slots", "order"), ORDERS)
def test_order(slots: int, order: str) -> None:
    backend = FakeBackend([Host("a", slots)])
    outcomes, _ = run(backend, recipe())
    assert " ".join(backend.log) == order
    assert set(states(outcomes).values()) == {"done"}
    assert outcomes["top"].value == "value of top"


def test_events_are_records() -> None:
    _, events = run(FakeBackend([Host("a", 4)]), recipe())
    assert [e.event for e in events if e.job == "top"] == ["started", "running", "done"]
    started = next(e for e in events if e.job == "left")
    assert started.record() == {
        "time": 1.0,
        "event": "started",
        "job": "left",
        "group": {"a": 2},
        "slots": ["a:2", "a:3"],
        "attempt": 1,
    }


def test_a_failed_job_skips_only_its_dependents() -> None:
    backend = FakeBackend([Host("a", 2)], fails={("top", 1): USER})
    outcomes, events = run(backend, recipe())
    assert states(outcomes) == {"whole": "done", "top": "failed", "left": "done", "stack": "skipped"}
    assert outcomes["top"].error == "labels.txt:3: malformed"
    assert "top" in outcomes["stack"].error
    assert [e.event for e in events if e.job == "stack"] == ["skipped"]
    assert outcomes["stack"].group is None


def test_skips_propagate_along_the_dependencies() -> None:
    chain = [
        JobSpec("c", "m:f", {}, depends_on=("b",)),
        JobSpec("b", "m:f", {}, depends_on=("a",)),
        JobSpec("a", "m:f", {}),
    ]
    outcomes, _ = run(FakeBackend([Host("h", 1)], fails={("a", 1): USER}), chain)
    assert states(outcomes) == {"c": "skipped", "b": "skipped", "a": "failed"}


def test_a_lost_worker_is_retried_on_the_same_group() -> None:
    backend = FakeBackend([Host("a", 2)], fails={("top", 1): DIED})
    outcomes, events = run(backend, recipe())
    assert set(states(outcomes).values()) == {"done"}
    assert (outcomes["top"].attempts, outcomes["left"].attempts) == (2, 1)
    assert [e.event for e in events if e.job == "top"] == [
        "started",
        "running",
        "retried",
        "started",
        "running",
        "done",
    ]
    assert outcomes["top"].started == 1.0, "the first start counts"


def test_a_job_fails_after_the_tolerated_failures() -> None:
    backend = FakeBackend([Host("a", 2)], fails={("top", n): DIED for n in range(1, 9)})
    outcomes, _ = run(backend, recipe())
    assert (outcomes["top"].state, outcomes["top"].attempts) == ("failed", 2)
    assert outcomes["top"].error == "gone\nfailed 2 times, 1 are tolerated"


def test_a_failure_to_start_waits_before_the_next_attempt() -> None:
    backend = FakeBackend([Host("a", 1)], fails={("x", n): Failure("start", "no") for n in (1, 2, 3)})
    _, events = run(backend, [JobSpec("x", "m:f", {})], RetryPolicy(0, 5))
    starts = [e.time for e in events if e.event == "started"]
    assert [b - a for a, b in pairwise(starts)] == [2.0, 3.0, 5.0]


def test_waiting_jobs_leave_a_lost_host() -> None:
    hosts = [Host("a", 2), Host("b", 2)]
    backend = FakeBackend(hosts, fails={("left", 1): DIED}, lost={("left", 1): "b"})
    outcomes, _ = run(backend, recipe(workers=2))
    assert set(states(outcomes).values()) == {"done"}
    assert outcomes["left"].group is not None
    assert outcomes["left"].group.hosts == {"a": 2}


def test_fewer_workers_where_the_batch_divides() -> None:
    hosts = [Host("a", 3), Host("b", 1)]
    backend = FakeBackend(hosts, fails={("x", 1): DIED}, lost={("x", 1): "b"})
    outcomes, _ = run(backend, [JobSpec("x", "m:f", {}, global_batch=128)])
    assert outcomes["x"].state == "done"
    assert len(outcomes["x"].group.slots) == 2, "three do not divide 128"


def test_a_job_waits_for_slots_and_then_fails() -> None:
    hosts = [Host("a", 3), Host("b", 1)]
    backend = FakeBackend(hosts, fails={("x", 1): DIED}, lost={("x", 1): "b"})
    outcomes, events = run(backend, [JobSpec("x", "m:f", {}, workers=4)], RetryPolicy(1, 1, lost_host_timeout_s=30))
    assert outcomes["x"].state == "failed"
    assert outcomes["x"].error == "x needs 4 slots, and there are 3 slots (a: 3), and no more came within 30 s"
    assert [e.event for e in events] == ["started", "running", "retried", "waiting", "failed"]
    assert events[-1].time - events[-2].time == 30.0


def test_a_host_that_returns_is_used_again() -> None:
    hosts = [Host("a", 3), Host("b", 1)]
    backend = FakeBackend(hosts, fails={("x", 1): DIED}, lost={("x", 1): "b"}, back_at=9.0)
    jobs = [JobSpec("x", "m:f", {}, workers=4), JobSpec("after", "m:f", {}, workers=4, depends_on=("x",))]
    outcomes, events = run(backend, jobs, RetryPolicy(1, 1, lost_host_timeout_s=30))
    assert set(states(outcomes).values()) == {"done"}
    assert outcomes["x"].attempts == 2
    assert [e.time for e in events if e.job == "x" and e.event == "started"] == [0.0, 9.0]
    assert outcomes["after"].group is not None
    assert outcomes["after"].group.hosts == {"a": 3, "b": 1}


def test_a_job_that_waits_for_slots_while_a_host_is_gone_keeps_its_number_of_workers() -> None:
    """Host b is gone while `second` still runs, and back when it ends."""
    hosts = [Host("a", 2), Host("b", 2)]
    jobs = [JobSpec(name, "m:f", {}, workers=1) for name in ("first", "second")]
    wide = JobSpec("wide", "m:f", {}, work=0.0)
    backend = FakeBackend(hosts, lost={("first", 1): "b"}, back_at=2.0)
    outcomes, _ = run(backend, [*jobs, wide])
    assert outcomes["wide"].group is not None
    assert outcomes["wide"].group.hosts == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("how", "error"), [(Failure("stopped", "stopped at step 7, saved"), None), (DIED, "gone"), (None, None)]
)
def test_a_stop_request_lets_jobs_save_and_starts_nothing_more(how: Failure | None, error: str | None) -> None:
    backend = FakeBackend([Host("a", 2)], fails={("left", 1): how} if how else {})
    outcomes, events = run(backend, recipe(), stop=StopRule(lambda: "+left" in backend.log))
    assert (backend.asked, backend.stopped) == (["left"], []), "top had ended by then"
    left = "stopped" if how else "done"
    assert states(outcomes) == {"whole": "done", "top": "done", "left": left, "stack": "stopped"}
    assert (outcomes["left"].error, outcomes["stack"].error) == (error, None)
    assert [e.job for e in events if e.event == "stopped"] == (["left"] if how else []), "the stack never started"


class NeverEnds(FakeBackend):
    """No attempt ends by itself."""

    def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
        self.now += 1.0
        return []


def test_a_job_that_does_not_exit_is_killed_after_the_timeout() -> None:
    backend = NeverEnds([Host("a", 2)])
    outcomes, _ = run(backend, [JobSpec("x", "m:f", {})], stop=StopRule(lambda: backend.now >= 3, 20.0))
    assert outcomes["x"].state == "stopped"
    assert outcomes["x"].error == "it did not exit within 20 s"
    assert outcomes["x"].ended == 23.0
    assert (backend.asked, backend.stopped) == (["x"], ["x"])


def test_a_job_that_is_not_up_yet_has_nothing_to_save() -> None:
    backend = NeverEnds([Host("a", 2)], up=False)
    outcomes, _ = run(backend, recipe(), stop=StopRule(lambda: backend.now >= 1))
    assert set(states(outcomes).values()) == {"stopped"}
    assert (backend.asked, backend.stopped) == (["whole"], ["whole"])
    assert outcomes["whole"].ended == 1.0, "at once"


def test_an_impossible_request_is_rejected_before_anything_starts() -> None:
    backend = FakeBackend([Host("a", 4), Host("b", 4)])
    with pytest.raises(UserError, match=r"9 workers .* \(top, left\), .* 8 slots \(a: 4, b: 4\)"):
        run(backend, recipe(workers=9))
    assert backend.log == []


@pytest.mark.parametrize(
    ("jobs", "problem"),
    [
        ([JobSpec("a", "m:f", {}, depends_on=("z",))], "a depends on .'z'."),
        ([JobSpec("a", "m:f", {}), JobSpec("a", "m:f", {})], "not unique"),
        ([JobSpec("a", "m:f", {}, depends_on=("b",)), JobSpec("b", "m:f", {}, depends_on=("a",))], "in a circle"),
    ],
)
def test_invalid_dependencies(jobs: list[JobSpec], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        run(FakeBackend([Host("a", 1)]), jobs)


def test_an_error_of_the_driver_kills_running_jobs() -> None:
    class Broken(FakeBackend):
        def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
            raise KeyboardInterrupt

    backend = Broken([Host("a", 2)])
    with pytest.raises(KeyboardInterrupt):
        run(backend, recipe())
    assert backend.stopped == ["whole"]


def test_no_jobs() -> None:
    assert run(FakeBackend([Host("a", 1)]), []) == ({}, [])


def test_a_job_is_started_on_idle_workers() -> None:
    idle = Group((Slot("a", 2), Slot("a", 3)))
    outcomes, _ = run(FakeBackend([Host("a", 4)], idle=[idle]), [JobSpec("one", "m:f", {}, workers=2)])
    assert outcomes["one"].group == idle
