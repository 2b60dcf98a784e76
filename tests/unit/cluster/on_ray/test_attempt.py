"""One attempt with a fake executor and a fake reservation: a stop on the way, devices, reported ends."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from cluster.config import ClusterConfig
from cluster.on_ray import attempt as module
from cluster.on_ray.attempt import Attempt, Site, check_devices
from cluster.on_ray.hosts import Node
from cluster.on_ray.reports import Failed
from cluster.on_ray.worlds.reservation import Share, share_of
from cluster.on_ray.worlds.warm import WarmWorlds
from cluster.schedule.job import Ended, Failure, JobSpec, Started, Worker
from cluster.schedule.slots import Group, Slot

GROUP = Group((Slot("a", 0), Slot("a", 1)))


def node(*, cpus: float = 8.0, gpus: int = 0, slots: int = 2) -> Node:
    return Node(name="a", node_id="0", address="10.0.0.1", cpus=cpus, gpus=gpus, own=True, slots=slots)


class FakeReservation:
    """Holds the slots of one host at once."""

    nodes: ClassVar = [node(), node()]

    def __init__(self, name: str, group: Group, *, gpu: bool, **_: Any) -> None:
        self.by_rank = self.nodes
        self.share = share_of(self.nodes, gpu=gpu)
        self.bundles: list[Any] | None = []

    def find_nodes(self) -> None: ...

    def hold(self, look: Callable[[], None]) -> float:
        return 0.0

    def release(self) -> None:
        self.bundles = None


class FakeExecutor:
    """Takes what an attempt asks of its workers, and gives nothing."""

    def __init__(self) -> None:
        self.started = self.killed = False
        self.orders: list[Any] = []

    def start(self) -> None:
        self.started = True

    def run_remote(self, fn: Callable[..., Any], args: list[Any]) -> list[Any]:
        self.orders += args
        raise OSError("no worker here")

    def kill(self) -> None:
        self.killed = True


def site(make: Callable[..., Any], config: ClusterConfig | None = None, warm: WarmWorlds | None = None) -> Site:
    return Site(config or ClusterConfig(), nodes=None, executor=make, warm=warm or WarmWorlds())


def run(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., FakeExecutor],
    *,
    job: JobSpec | None = None,
    config: ClusterConfig | None = None,
    reservation: type = FakeReservation,
) -> tuple[Attempt, Ended]:
    """The attempt and its end; `make` is called for its executor."""
    monkeypatch.setattr(module, "Reservation", reservation)
    news: list[Started | Ended] = []
    ended = threading.Event()
    attempt = Attempt(job or JobSpec("top", "m:f", {}), GROUP, site=site(make, config))
    attempt.begin(lambda one: (news.append(one), ended.set() if isinstance(one, Ended) else None)[0])
    assert ended.wait(20)
    assert attempt.join()
    (end,) = news
    assert isinstance(end, Ended)
    return attempt, end


def test_an_attempt_that_is_stopped_while_its_executor_is_made_starts_no_world(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = FakeExecutor()

    def make(*_: object, **__: object) -> FakeExecutor:
        attempt.kill()  # the scheduler's thread, between the reservation and the executor
        return executor

    monkeypatch.setattr(module, "Reservation", FakeReservation)
    news: list[Started | Ended] = []
    attempt = Attempt(JobSpec("top", "m:f", {}), GROUP, site=site(make))
    attempt.begin(news.append)
    assert attempt.join()
    assert not executor.started, "its placement group is gone already"
    assert executor.killed
    (end,) = news
    assert isinstance(end, Ended)
    assert end.failure is not None
    assert end.failure.kind == "start"


def test_an_executor_that_is_made_too_late_starts_no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = FakeExecutor()
    late = threading.Event()

    class Timer:
        def __init__(self, limit_s: float, act: Callable[[], None]) -> None:
            self.start, self.cancel = act, lambda: late.set()

    monkeypatch.setattr(module.threading, "Timer", Timer)
    _, end = run(monkeypatch, lambda *_, **__: executor)
    assert (executor.started, executor.killed, late.is_set()) == (False, True, True)
    assert end.failure is not None
    assert end.failure.message == "not up after 300 s"


def test_a_thread_that_does_not_end_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()

    def make(*_: object, **__: object) -> FakeExecutor:
        released.wait(60)
        return FakeExecutor()

    monkeypatch.setattr(module, "Reservation", FakeReservation)
    monkeypatch.setattr(module, "END_S", 0.01)
    attempt = Attempt(JobSpec("top", "m:f", {}), GROUP, site=site(make))
    attempt.begin(lambda _: None)
    try:
        attempt.kill()
        assert not attempt.join()
        assert any("top" in message for message in caplog.messages)
    finally:
        released.set()
        monkeypatch.setattr(module, "END_S", 20.0)
        assert attempt.join()


def worker(rank: int, host: str, devices: str) -> Worker:
    return Worker(rank, host, 100 + rank, devices, 0.1)


# CUDA_VISIBLE_DEVICES by rank, with the rank's host -> whether the ranks were given a GPU each
DEVICES = [
    ([("a", "0,1"), ("a", "0,1")], True),
    ([("a", "0"), ("b", "0")], True),  # the same number on two hosts
    ([("a", "2,3"), ("a", "2,3"), ("b", "7")], True),
    ([("a", "0"), ("a", "1")], False),  # each sees its own GPU only: local rank 1 would find none
    ([("a", "0,0"), ("a", "0,0")], False),  # one GPU twice
    ([("a", "0"), ("a", "0")], False),
    ([("a", "0,1,2"), ("a", "0,1,2")], False),  # a GPU of another job
    ([("a", ""), ("b", "0")], True),  # one entry of any name: Ray names GPUs by UUID too
    ([("a", "-1"), ("a", "-1")], False),
]


@pytest.mark.parametrize(("devices", "right"), DEVICES)
def test_devices(devices: list[tuple[str, str]], right: bool) -> None:
    workers = [worker(rank, host, seen) for rank, (host, seen) in enumerate(devices)]
    if right:
        check_devices(workers)
    else:
        with pytest.raises(Failed, match="GPU"):
            check_devices(workers)


# host, whether the job trains on a GPU -> what a rank reserves, and the threads that it may use
SHARES = [
    (node(cpus=48, gpus=4, slots=4), True, Share(cpus=1.0, gpus=1, threads=12)),
    (node(cpus=48, gpus=4, slots=4), False, Share(cpus=1.0, gpus=0, threads=12)),  # the stack
    (node(cpus=2, gpus=4, slots=4), True, Share(cpus=0.5, gpus=1, threads=1)),
    (node(cpus=8, slots=2), True, Share(cpus=4.0, gpus=0, threads=4)),
    (node(cpus=8, slots=2), False, Share(cpus=4.0, gpus=0, threads=4)),
]


@pytest.mark.parametrize(("host", "gpu", "share"), SHARES)
def test_share(host: Node, gpu: bool, share: Share) -> None:
    assert share_of([host], gpu=gpu) == share


def test_a_job_without_gpu_reserves_none_and_sees_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpus(FakeReservation):
        nodes: ClassVar = [node(gpus=2), node(gpus=2)]

    for gpu, visible in ((True, None), (False, "-1")):
        executor = FakeExecutor()
        run(
            monkeypatch,
            lambda *_, made=executor, **__: made,
            job=JobSpec("stack", "m:f", {}, gpu=gpu),
            reservation=OnGpus,
        )
        (order,) = executor.orders
        assert order["environment"].get("CUDA_VISIBLE_DEVICES") == visible


@pytest.mark.parametrize(
    ("up", "leaving", "stops", "kind"),
    [
        (True, {"0": "Google preempts it"}, 1, "reclaimed"),
        (True, {"1": "Google preempts it"}, 0, "died"),  # another host's
        (False, {"0": "Google preempts it"}, 2, "died"),  # it does not run yet: asked again at the next look
    ],
)
def test_an_attempt_leaves_a_host_that_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, up: bool, leaving: dict[str, str], stops: int, kind: str
) -> None:
    monkeypatch.setattr(module, "Reservation", FakeReservation)
    attempt = Attempt(JobSpec("top", "m:f", {}), GROUP, site=site(FakeExecutor))
    asked: list[bool] = []
    monkeypatch.setattr(attempt, "request_stop", lambda: (asked.append(True), up)[1])
    attempt.leave(leaving)
    attempt.leave(leaving)
    assert len(asked) == stops
    assert attempt._after_notice(Failure("died", "the worker's host is gone")).kind == kind
    assert attempt._after_notice(Failure("user", "labels.txt:3: malformed")).kind == "user"


def test_whether_an_attempt_saved_before_it_left_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Reservation", FakeReservation)
    attempt = Attempt(JobSpec("top", "m:f", {}), GROUP, site=site(FakeExecutor))
    monkeypatch.setattr(attempt, "request_stop", lambda: True)
    attempt.leave({"0": "Google preempts it"})
    saved = attempt._after_notice(Failure("stopped", "stopped at step 7, saved"))
    assert saved.line() == "left a: Google preempts it; saved"
    assert "not saved" in attempt._after_notice(Failure("died", "its host is gone", rank=1, host="a")).line()


SHARE = share_of(FakeReservation.nodes)


@dataclass
class IdleWorld:
    """The workers of an earlier job; they answer as `answer` says."""

    answer: Exception
    group: Group = GROUP
    by_rank: Sequence[Node] = tuple(FakeReservation.nodes)
    share: Share = SHARE
    asked: int = 0
    killed: bool = False
    alone: bool = False

    def run_remote(self, fn: Callable[..., Any], args: list[Any]) -> list[Any]:
        self.asked += 1
        raise self.answer

    def kill(self) -> None:
        self.killed = True

    end = kill


GONE = Failed(Failure("died", "the worker died"))
MISTAKE = Failed(Failure("user", "the host's own name does not resolve"))
USES_OF_IDLE_WORKERS = [  # job, fresh, their answer -> asked, whether a new world is started, message
    (JobSpec("top", "m:f", {}, reuse_workers=True), False, GONE, 1, True, "no worker here"),
    (JobSpec("top", "m:f", {}, reuse_workers=True), True, GONE, 0, True, "no worker here"),
    (JobSpec("top", "m:f", {}), False, GONE, 0, True, "no worker here"),
    (JobSpec("top", "m:f", {}, reuse_workers=True), False, OSError("no Ray"), 1, True, "no worker here"),
    (JobSpec("top", "m:f", {}, reuse_workers=True), False, MISTAKE, 1, False, "the host's own name does not resolve"),
]


@pytest.mark.parametrize(("job", "fresh", "answer", "asked", "new", "message"), USES_OF_IDLE_WORKERS)
def test_idle_workers_are_used_or_killed(
    monkeypatch: pytest.MonkeyPatch, job: JobSpec, fresh: bool, answer: Exception, asked: int, new: bool, message: str
) -> None:
    monkeypatch.setattr(module, "Reservation", FakeReservation)
    warm, idle, executor = WarmWorlds(600.0), IdleWorld(answer), FakeExecutor()
    warm.give(idle)
    ends: list[Started | Ended] = []
    attempt = Attempt(job, GROUP, site=site(lambda *_, **__: executor, warm=warm), fresh=fresh)
    attempt.begin(ends.append)
    assert attempt.join()
    assert (idle.asked, idle.killed, executor.started) == (asked, True, new)
    (end,) = ends
    assert isinstance(end, Ended)
    assert end.failure is not None
    assert end.failure.message == message
    assert warm.groups == [], "no job gets what a failed attempt leaves"
