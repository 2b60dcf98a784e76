"""Real Ray and real Horovod: jobs that run one after the other in the same worker processes."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from cluster.on_ray.backend import RayBackend
from cluster.schedule.job import Event, JobSpec
from cluster.schedule.scheduler import run_jobs
from tests.cluster.conftest import Ran, check_all_given_back

TARGETS = "tests.cluster.targets"
Chain = Callable[..., Ran]


@pytest.fixture
def chain(own_ray: RayBackend) -> Iterator[Chain]:
    """Run jobs on two slots, and call `hear` with each event; at the end nothing of them may be left."""

    def run_them(jobs: Sequence[JobSpec], hear: Callable[[Event], None] = lambda _: None) -> Ran:
        config = ClusterConfig(gpus=0, slots=2)
        events: list[Event] = []
        backend = RayBackend(config, joined=None)
        try:
            outcomes = run_jobs(
                jobs, backend=backend, retries=config.retries, on_event=lambda e: (events.append(e), hear(e))[0]
            )
        finally:
            backend.kill_all()
        return Ran(outcomes, events)

    yield run_them
    check_all_given_back()


def job(name: str, target: str, *after: str, workers: int = 2, reuse: bool = True, **payload: object) -> JobSpec:
    return JobSpec(
        name, f"{TARGETS}:{target}", dict(payload), workers=workers, depends_on=after, reuse_workers=reuse,
        logs=payload.get("folder"),
    )  # fmt: skip


def pids(ran: Ran) -> dict[str, list[int]]:
    """The processes of the last attempt of each job, by rank."""
    return {e.job: [worker.pid for worker in e.up.workers] for e in ran.events if e.up is not None}


def test_a_chain_of_jobs_in_one_world_and_then_in_a_part_of_it(chain: Chain, tmp_path: Path) -> None:
    jobs = [
        job("first", "world", meet=str(tmp_path), expect=0, folder=str(tmp_path / "first")),
        job("second", "world", "first", meet=str(tmp_path), expect=0, folder=str(tmp_path / "second")),
        job("third", "world", "second", workers=1, meet=str(tmp_path), expect=0, folder=str(tmp_path / "third")),
        job("fourth", "place", "third", workers=1),
        job("other", "place", "fourth", workers=1, reuse=False),
    ]
    ran = chain(jobs)
    assert {outcome.state for outcome in ran.outcomes.values()} == {"done"}
    assert [ran.outcomes[name].value["sum"] for name in ("first", "second", "third")] == [3, 3, 1]
    processes = pids(ran)
    assert processes["first"] == processes["second"]
    assert processes["third"] == processes["fourth"]
    assert processes["third"][0] in processes["second"]
    assert ran.outcomes["third"].value["size"] == 1
    assert processes["other"] != processes["fourth"]
    reused = {e.job: e.record()["reused"] for e in ran.events if e.event == "running"}
    assert reused == {"first": False, "second": True, "third": True, "fourth": True, "other": False}
    for name, last in (("first", 1), ("second", 1), ("third", 0)):
        assert (tmp_path / name / "attempt.json").exists()
        assert (tmp_path / name / f"rank-{last}.txt").exists(), "each job has its own output"


def test_a_world_of_two_becomes_two_worlds_side_by_side_and_then_another_one(chain: Chain, tmp_path: Path) -> None:
    for name in ("one", "two", "apart"):
        (tmp_path / name).mkdir()
    jobs = [
        job("first", "world", meet=str(tmp_path / "one"), expect=2),
        job("left", "world", "first", workers=1, meet=str(tmp_path / "apart"), expect=2),
        job("right", "world", "first", workers=1, meet=str(tmp_path / "apart"), expect=2),
        job("last", "world", "left", "right", meet=str(tmp_path / "two"), expect=2),
    ]
    ran = chain(jobs)
    assert {outcome.state for outcome in ran.outcomes.values()} == {"done"}
    found = {name: (outcome.value["size"], outcome.value["sum"]) for name, outcome in ran.outcomes.items()}
    assert found == {"first": (2, 3), "left": (1, 1), "right": (1, 1), "last": (2, 3)}
    processes = pids(ran)
    assert sorted(processes["left"] + processes["right"]) == sorted(processes["first"])
    assert set(processes["last"]).isdisjoint(processes["first"])


def test_a_job_that_dies_beside_another_part_of_its_world_is_repeated_at_once(chain: Chain, tmp_path: Path) -> None:
    """Ray cannot give back a part of a placement group: the next attempt takes the bundle of the one that died."""
    again = tmp_path / "again"
    jobs = [
        job("first", "world", meet=str(tmp_path), expect=0),
        job("stays", "place", "first", workers=1, until=str(again)),
        job("dies", "killed_once", "first", workers=1, rank=0, mark=str(tmp_path / "killed")),
        job("next", "touches", "dies", workers=1, path=str(again)),
    ]
    ran = chain(jobs)
    assert ran.of("dies") == ["started", "running", "retried", "started", "running", "done"]
    assert ran.of("stays") == ["started", "running", "done"], "it does not notice"
    assert ran.of("next") == ["started", "running", "done"]


@pytest.mark.parametrize(
    ("number", "target", "workers"),
    [
        (signal.SIGKILL, "place", 2),
        (signal.SIGSTOP, "place", 2),
        (signal.SIGSTOP, "world", 1),  # Horovod waits for a stopped rank when another one leaves their world
    ],
)
def test_idle_workers_that_die_or_stop_cost_no_job_anything(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals, target: str, workers: int
) -> None:
    monkeypatch.setattr("cluster.on_ray.attempt.ANSWER_S", 2.0)
    running: dict[str, list[int]] = {}

    def hear(event: Event) -> None:
        if event.up is not None:
            running[event.job] = [worker.pid for worker in event.up.workers]
        if (event.job, event.event) == ("first", "done"):
            os.kill(running["first"][1], number)

    meet = {"meet": str(tmp_path), "expect": 0}
    ran = chain([job("first", target, **meet), job("second", target, "first", workers=workers, **meet)], hear)
    assert ran.of("second") == ["started", "running", "done"], "no failure"
    assert set(running["first"]).isdisjoint(running["second"])
    assert not any(Path(f"/proc/{pid}").exists() for pid in running["first"])


def test_no_job_gets_the_processes_of_a_failed_attempt(chain: Chain, tmp_path: Path) -> None:
    jobs = [
        job("first", "place"),
        job("dies", "killed_once", "first", rank=1, mark=str(tmp_path / "killed")),
        job("last", "place", "dies"),
    ]
    ran = chain(jobs)
    assert ran.of("dies") == ["started", "running", "retried", "started", "running", "done"]
    first, again = [[worker.pid for worker in e.up.workers] for e in ran.events if e.job == "dies" and e.up is not None]
    processes = pids(ran)
    assert processes["first"] == first, "its first attempt used the idle workers"
    assert set(first).isdisjoint(again)
    assert processes["last"] == again
