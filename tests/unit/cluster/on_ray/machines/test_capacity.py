"""The requests of all drivers for machines, as plain values."""

import threading

import pytest
import ray

from cluster.on_ray.machines import capacity
from cluster.on_ray.machines.capacity import Requests
from data_tools.errors import UserError

GPU = {"GPU": 1.0}
CPU = {"CPU": 1.0}


def test_the_requests_of_all_drivers_add_up() -> None:
    requests = Requests(stale_s=60)
    requests.renew("a", [GPU, GPU], 0)
    requests.renew("b", [CPU], 10)
    assert requests.total(11) == [GPU, GPU, CPU]
    requests.renew("a", [], 12)
    assert requests.total(12) == [CPU], "the end of one driver leaves the other's machines"


def test_a_driver_that_does_not_renew_loses_its_machines_and_gets_them_back() -> None:
    requests = Requests(stale_s=60)
    requests.renew("a", [GPU], 0)
    assert requests.total(60) == [GPU]
    assert requests.total(61) == []
    requests.renew("a", [GPU], 300)  # it was stopped by a signal, and continues
    assert requests.total(301) == [GPU]


def test_to_withdraw_twice_is_harmless() -> None:
    requests = Requests()
    requests.renew("a", [], 0)
    requests.renew("a", [], 1)
    assert requests.total(2) == []


class Calls:
    """Stands for the actor: records what it is asked, and fails from the second call on where asked to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.bundles: list[list[dict[str, float]]] = []
        self.renewed = threading.Event()
        self._fails = fails

    def __call__(self, name: str, driver: str, bundles: list[dict[str, float]], stale_s: float) -> None:
        self.bundles.append(bundles)
        if len(self.bundles) > 2:
            self.renewed.set()
        if self._fails and len(self.bundles) > 1:
            raise ray.exceptions.GetTimeoutError("the head is slow")


@pytest.mark.parametrize("fails", [False, True])
def test_a_request_is_renewed_and_withdrawn_whatever_happens(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    calls = Calls(fails=fails)
    monkeypatch.setattr(capacity, "_renew", calls)
    with pytest.raises(KeyError), capacity.held([GPU], renew_s=0.001):
        assert calls.renewed.wait(10)
        raise KeyError
    assert calls.bundles[0] == calls.bundles[1] == [GPU]
    assert calls.bundles[-1] == []


def test_a_first_request_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ray.exceptions.GetTimeoutError("no head")

    monkeypatch.setattr(capacity, "_renew", refuse)
    with pytest.raises(UserError, match="the request for machines: no head"), capacity.held([GPU]):
        pass
