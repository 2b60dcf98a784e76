"""The scheduler against a backend that runs nothing: order, groups, failures, retries, lost hosts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from cluster.job import Ended, Event, Failure, JobOutcome, JobSpec, Started
from cluster.retry import RetryPolicy
from cluster.scheduler import run_jobs
from cluster.slots import Group, Host
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
    now: float = 0.0

    def hosts(self) -> Sequence[Host]:
        return self.there

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

    def stop(self, job: str) -> None:
        self.stopped.append(job)


def recipe(*, workers: int | None = None) -> list[JobSpec]:
    regions = [JobSpec(name, "m:f", {}, workers=workers, needs=("whole",)) for name in ("top", "left")]
    stack = JobSpec("stack", "m:f", {}, workers=1, needs=("whole", "top", "left"))
    return [JobSpec("whole", "m:f", {}), *regions, stack]


def run(
    backend: FakeBackend, jobs: list[JobSpec], retries: RetryPolicy = ONE_EACH
) -> tuple[dict[str, JobOutcome], list[Event]]:
    events: list[Event] = []
    outcomes = run_jobs(
        jobs, backend=backend, retries=retries, on_event=events.append, clock=lambda: backend.now
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
        "wave": 1,
        "attempt": 1,
    }


def test_a_failing_job_takes_down_only_what_needs_it() -> None:
    backend = FakeBackend([Host("a", 2)], fails={("top", 1): USER})
    outcomes, events = run(backend, recipe())
    assert states(outcomes) == {"whole": "done", "top": "failed", "left": "done", "stack": "skipped"}
    assert outcomes["top"].error == "labels.txt:3: malformed"
    assert outcomes["stack"].error == "needs top, which did not end well"
    assert [e.event for e in events if e.job == "stack"] == ["skipped"]
    assert outcomes["stack"].group is None


def test_skipping_passes_on_along_the_chain() -> None:
    chain = [
        JobSpec("c", "m:f", {}, needs=("b",)),
        JobSpec("b", "m:f", {}, needs=("a",)),
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


def test_a_job_is_given_up_after_the_failures_that_are_allowed() -> None:
    backend = FakeBackend([Host("a", 2)], fails={("top", n): DIED for n in range(1, 9)})
    outcomes, _ = run(backend, recipe())
    assert (outcomes["top"].state, outcomes["top"].attempts) == ("failed", 2)
    assert outcomes["top"].error == "gone\nfailed 2 times, and 1 are allowed"


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
    outcomes, _ = run(backend, [JobSpec("x", "m:f", {}, divides=128)])
    assert outcomes["x"].state == "done"
    assert len(outcomes["x"].group.slots) == 2, "three do not divide 128"


def test_a_fixed_number_of_workers_that_no_longer_fits_ends_the_job() -> None:
    hosts = [Host("a", 3), Host("b", 1)]
    backend = FakeBackend(hosts, fails={("x", 1): DIED}, lost={("x", 1): "b"})
    outcomes, _ = run(backend, [JobSpec("x", "m:f", {}, workers=4)])
    assert outcomes["x"].state == "failed"
    assert outcomes["x"].error == "x needs 4 slots, and 3 are left without b"


def test_what_can_never_be_placed_is_refused_before_anything_starts() -> None:
    backend = FakeBackend([Host("a", 4), Host("b", 4)])
    with pytest.raises(UserError, match=r"9 workers a job .* \(top, left\), .* 8 slots \(a: 4, b: 4\)"):
        run(backend, recipe(workers=9))
    assert backend.log == []


@pytest.mark.parametrize(
    ("jobs", "problem"),
    [
        ([JobSpec("a", "m:f", {}, needs=("z",))], "needs .'z'."),
        ([JobSpec("a", "m:f", {}), JobSpec("a", "m:f", {})], "not unique"),
        ([JobSpec("a", "m:f", {}, needs=("b",)), JobSpec("b", "m:f", {}, needs=("a",))], "in a circle"),
    ],
)
def test_needs_that_make_no_sense(jobs: list[JobSpec], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        run(FakeBackend([Host("a", 1)]), jobs)


def test_an_error_of_the_driver_stops_what_runs() -> None:
    class Broken(FakeBackend):
        def wait(self, timeout_s: float) -> Sequence[Started | Ended]:
            raise KeyboardInterrupt

    backend = Broken([Host("a", 2)])
    with pytest.raises(KeyboardInterrupt):
        run(backend, recipe())
    assert backend.stopped == ["whole"]


def test_no_jobs() -> None:
    assert run(FakeBackend([Host("a", 1)]), []) == ({}, [])
