"""Ray, horovodrun and the calibration of `plan` start a worker in the same environment."""

import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cluster.config import ClusterConfig, HorovodConfig
from cluster.on_ray import attempt
from cluster.on_ray.attempt import Attempt, Site
from cluster.on_ray.hosts import Node
from cluster.on_ray.worlds.reservation import share_of
from cluster.schedule.job import JobSpec
from cluster.schedule.slots import Group, Host, Slot
from data_tools.protocol import EXPECT_GPU
from launch import train
from launch.planning import inputs

CORES, SLOTS = 48, 4


def by_ray(config: ClusterConfig, monkeypatch: pytest.MonkeyPatch, *, gpus: int) -> dict[str, str]:
    node = Node(name="a", node_id="0", address="10.0.0.1", cpus=CORES, gpus=gpus, own=True, slots=SLOTS)

    class Reserved:
        by_rank = [node] * SLOTS
        share = share_of([node] * SLOTS)
        bundles: ClassVar[list[Any]] = []

        def __init__(self, *_: object, **__: object) -> None: ...

        def find_nodes(self) -> None: ...

        def hold(self, look: object) -> float:
            return 0.0

        def release(self) -> None: ...

    class Executor:
        orders: ClassVar[list[Any]] = []

        def start(self) -> None: ...

        def run_remote(self, fn: object, args: list[Any]) -> list[Any]:
            self.orders = args
            raise OSError

        def kill(self) -> None: ...

    monkeypatch.setattr(attempt, "Reservation", Reserved)
    executor, ended = Executor(), threading.Event()
    group = Group(tuple(Slot("a", index) for index in range(SLOTS)))
    one = Attempt(JobSpec("top", "m:f", {}), group, site=Site(config, None, lambda *_, **__: executor))
    one.begin(lambda _: ended.set())
    assert ended.wait(20)
    return dict(executor.orders[0]["environment"])


def variables_of(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


@pytest.mark.parametrize("gpus", [0, SLOTS])
def test_three_ways_one_environment(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    config = ClusterConfig(
        gpus=gpus or 0, horovod=HorovodConfig(cycle_ms=2.5), environment={"HOROVOD_CYCLE_TIME": "4", "MINE": "1"}
    )
    expected = by_ray(config, monkeypatch, gpus=gpus)
    assert expected["REGIONSTACK_THREADS"] == expected["OMP_NUM_THREADS"] == "12", "also with a GPU"
    assert expected["HOROVOD_CYCLE_TIME"] == "4", "cluster.environment overrides"
    assert expected.get("CUDA_VISIBLE_DEVICES") == (None if gpus else "-1")
    assert expected[EXPECT_GPU] == ("1" if gpus else "0"), "a promised GPU is never replaced by the CPU"
    monkeypatch.setenv("HOROVOD_LOCAL_SIZE", str(SLOTS))
    for module in (train, inputs):
        monkeypatch.setattr(module, "available_cores", lambda: CORES)
    ways = {
        "horovodrun": lambda: train.prepare_environment(config),
        "calibration": lambda: inputs.prepare_environment(config, Host("a", SLOTS), gpus=bool(gpus)),
    }
    for way, prepare in ways.items():
        with monkeypatch.context() as patch:
            for name in [*expected, "CUDA_VISIBLE_DEVICES", EXPECT_GPU]:
                patch.delenv(name, raising=False)
            before = dict(os.environ)
            prepare()
            changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
            for name in changed:
                del os.environ[name]
        assert changed == expected, way


def test_what_is_set_already_has_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGIONSTACK_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with monkeypatch.context() as patch:
        for name in ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES"):
            patch.setenv(name, "0")
        train.prepare_environment(ClusterConfig())
        assert variables_of(["REGIONSTACK_THREADS", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"]) == {
            "REGIONSTACK_THREADS": "3",
            "OMP_NUM_THREADS": "3",
            "CUDA_VISIBLE_DEVICES": "0",
        }
        for name in (*ClusterConfig().horovod.environment(), EXPECT_GPU):
            os.environ.pop(name, None)


PROMISES = [  # cluster.gpus, CUDA_VISIBLE_DEVICES, GPUs of the driver, promised
    (None, None, [], None),
    (None, None, ["GPU-1"], True),
    (None, "0", [], True),
    (None, "-1", ["GPU-1"], None),
    (None, "", ["GPU-1"], None),
    (2, "-1", [], True),
    (0, "0", ["GPU-1"], False),
]


@pytest.mark.parametrize(("gpus", "visible", "listed", "expected"), PROMISES)
def test_what_promises_a_gpu_under_horovodrun(
    monkeypatch: pytest.MonkeyPatch, gpus: int | None, visible: str | None, listed: list[str], expected: bool | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(train, "list_gpus", lambda: listed)
    assert train.promised_gpu(ClusterConfig(gpus=gpus)) is expected
