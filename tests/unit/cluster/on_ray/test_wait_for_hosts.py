"""What a run waits for before it places anything; hosts and clock are given."""

import logging
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from cluster.on_ray.wait_for_hosts import HOSTS, bundles, expected_hosts, gather
from cluster.schedule.slots import Host
from data_tools.errors import UserError

HEAD, ONE, TWO = Host("head", 2), Host("one", 2), Host("two", 2)


class Cluster:
    """Hosts that come one after the other, one at each look, and a clock that each look moves on by 10 s."""

    def __init__(self, *states: list[Host]) -> None:
        self._states, self.now = list(states), 0.0

    def hosts(self) -> list[Host]:
        return self._states[min(int(self.now // 10), len(self._states) - 1)]

    def sleep(self, seconds: float) -> None:
        self.now += 10

    def gather(self, expected: int, **settings: int) -> None:
        config = ClusterConfig(**settings)  # type: ignore[arg-type]
        gather(self.hosts, config, expected=expected, clock=lambda: self.now, sleep=self.sleep)


def test_no_wait_with_all_hosts_up() -> None:
    cluster = Cluster([HEAD, ONE])
    cluster.gather(2)
    assert cluster.now == 0


def test_expected_hosts_are_waited_for_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster([HEAD], [HEAD, ONE], [HEAD, ONE, TWO])
    cluster.gather(3)
    assert cluster.now == 20
    assert caplog.messages == ["waiting for the cluster: 3 hosts are expected, found 4 slots (head: 2, one: 2)"]


def test_after_the_timeout_it_continues_with_the_hosts_that_came(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Cluster([HEAD]).gather(3, gather_timeout_s=100)
    assert caplog.messages[-1] == "continuing with the hosts that came: 3 hosts are expected, found 2 slots (head: 2)"


def test_requested_slots_that_do_not_come_are_an_error() -> None:
    with pytest.raises(UserError) as caught:
        Cluster([HEAD, ONE]).gather(1, request_slots=8, gather_timeout_s=100)
    assert str(caught.value) == (
        "after 100 s (cluster.gather_timeout_s) still 8 slots are requested (cluster.request_slots), "
        "found 4 slots (head: 2, one: 2)"
    )


def test_slots_that_come_late_are_enough() -> None:
    cluster = Cluster([HEAD], [HEAD], [HEAD, ONE, TWO])
    cluster.gather(1, request_slots=6, gather_timeout_s=100)
    assert cluster.now == 20


@pytest.mark.parametrize(("gpus", "each"), [(True, {"GPU": 1}), (False, {"CPU": 1})])
def test_the_autoscaler_gets_the_whole_request_at_once(gpus: bool, each: dict[str, int]) -> None:
    assert bundles(16, gpus=gpus) == [each] * 16


def test_a_batch_system_names_the_number_of_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert expected_hosts(tmp_path / "none.yaml") == 1
    monkeypatch.setenv(HOSTS, "3")
    assert expected_hosts(tmp_path / "none.yaml") == 3
