"""The cluster section, slots of hosts, shares of ranks, failures folded into one."""

import socket

import pytest

from cluster.config import ClusterConfig, HorovodConfig
from cluster.interface import interface_of
from cluster.liveness.worker import check_own_name, find_interface
from cluster.on_ray.hosts import Node, slots_of
from cluster.on_ray.worlds.reservation import share_of
from cluster.schedule.failures import RankFailure, first_failure
from data_tools.config import from_mapping
from data_tools.errors import UserError


def node(cpus: float, gpus: int, slots: int) -> Node:
    return Node(name="a", node_id="0", address="10.0.0.1", cpus=cpus, gpus=gpus, own=True, slots=slots)


# cores, GPUs, whether the cluster has GPUs, wanted -> slots
SLOTS = [
    (2.0, 0, False, None, 2),
    (2.0, 0, False, 8, 8),
    (0.0, 0, False, 8, 0),  # a head node that takes no work
    (0.5, 0, False, None, 1),
    (16.0, 4, True, None, 4),
    (16.0, 4, True, 2, 2),
    (16.0, 4, True, 8, 4),  # ranks cannot share a GPU
    (16.0, 0, True, 8, 0),  # a host without GPUs beside hosts with some
]


@pytest.mark.parametrize(("cpus", "gpus", "with_gpus", "wanted", "slots"), SLOTS)
def test_slots_of_a_host(cpus: float, gpus: int, with_gpus: bool, wanted: int | None, slots: int) -> None:
    assert slots_of(cpus, gpus, with_gpus=with_gpus, wanted=wanted) == slots


# nodes of the ranks -> cores, GPUs, threads of each
SHARES = [
    ([node(2, 0, 8)], 0.25, 0, 1),
    ([node(2, 0, 3)], 0.6666, 0, 1),  # rounded down, so that three fit into two
    ([node(64, 0, 2), node(16, 0, 2)], 8.0, 0, 8),
    ([node(64, 8, 8)], 1.0, 1, 8),  # Ray reserves one core; the threads are those of the slot
    ([node(2, 4, 4)], 0.5, 1, 1),
]


@pytest.mark.parametrize(("nodes", "cpus", "gpus", "threads"), SHARES)
def test_share_of_a_rank(nodes: list[Node], cpus: float, gpus: int, threads: int) -> None:
    share = share_of(nodes)
    assert (share.cpus, share.gpus, share.threads) == (cpus, gpus, threads)


BAD = [
    ({"slots": 0}, "cluster.slots: must be 1 or more, is 0"),
    ({"max_failures": -1}, "cluster.max_failures: must be 0 or more"),
    ({"horovod": {"stall_warning_s": 60, "stall_shutdown_s": 30}}, "cluster.horovod.stall_shutdown_s: must be longer"),
    ({"horovod": {"fusion_mb": 1}}, "cluster.horovod.fusion_mb: unknown setting; did you mean fusion_mib"),
    ({"object_store_mib": 1}, "cluster.object_store_mib: Ray needs 80"),
]


@pytest.mark.parametrize(("mapping", "problem"), BAD)
def test_invalid_settings(mapping: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        from_mapping(ClusterConfig, mapping, where="cluster")


def test_horovod_settings_become_its_variables() -> None:
    values = HorovodConfig(fusion_mib=64, cycle_ms=2.5, autotune=True).environment()
    assert values == {
        "HOROVOD_STALL_CHECK_TIME_SECONDS": "60",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "300",
        "HOROVOD_FUSION_THRESHOLD": str(64 * 2**20),
        "HOROVOD_CYCLE_TIME": "2.5",
        "HOROVOD_AUTOTUNE": "1",
    }
    assert HorovodConfig(stall_warning_s=0).environment()["HOROVOD_STALL_CHECK_DISABLE"] == "1"


def lost(rank: int) -> RankFailure:
    return RankFailure(rank, "a", "raised", "HorovodInternalError: shut down", lost_peer=True)


def test_the_cause_is_reported_and_not_its_consequence() -> None:
    failure = first_failure([lost(0), RankFailure(2, "b", "died", "the worker died"), lost(1)])
    assert (failure.kind, failure.rank, failure.host) == ("died", 2, "b")
    assert failure.text() == "rank 2 on b: the worker died\nranks 0, 1: lost the connection after that"


def test_identical_errors_are_reported_once() -> None:
    same = [RankFailure(rank, "a", "raised", "ValueError: x", traceback="T") for rank in range(4)]
    assert first_failure(same).text() == "rank 0 on a: ValueError: x\nT\nranks 1, 2, 3: the same"


def test_a_lost_connection_alone_counts_as_a_death() -> None:
    assert first_failure([lost(1)]).kind == "died"


def test_a_user_error_is_one_line() -> None:
    failures = [RankFailure(rank, "a", "user", "x.txt:3: bad", log="rank.txt") for rank in range(2)]
    assert first_failure(failures).text() == "x.txt:3: bad"


def test_interface_of_an_address() -> None:
    assert interface_of("127.0.0.1") == "lo"
    with pytest.raises(UserError, match=r"no network interface holds 203.0.113.77, .* cluster.interface"):
        find_interface("203.0.113.77")


def test_the_own_name_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"near": "127.0.1.1", "far": "10.0.0.7"}

    def look_up(name: str) -> str:
        if name not in known:
            raise socket.gaierror(name)
        return known[name]

    monkeypatch.setattr(socket, "gethostbyname", look_up)
    check_own_name("near", several_hosts=False)
    check_own_name("far", several_hosts=True)
    with pytest.raises(UserError, match=r"near: .* 127.0.1.1.*/etc/hosts"):
        check_own_name("near", several_hosts=True)
    with pytest.raises(UserError, match=r"^nowhere: "):
        check_own_name("nowhere", several_hosts=False)


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 900),
        ({"request_slots": 16}, 2400),  # machines that boot and are set up first
        ({"request_slots": 16, "gather_timeout_s": 60}, 60),
        ({"gather_timeout_s": 0}, 0),
    ],
)
def test_how_long_a_run_waits_for_hosts(settings: dict[str, int], seconds: int) -> None:
    assert ClusterConfig(**settings).gather_limit_s == seconds  # type: ignore[arg-type]
