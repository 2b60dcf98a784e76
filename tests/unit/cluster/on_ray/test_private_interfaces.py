"""Private names of Ray and Horovod that the product relies on; see docs/cluster.md. An upgrade may remove them."""

import inspect
import logging

import pytest
import ray
from horovod.ray.strategy import PGStrategy
from horovod.runner.http.http_server import RendezvousServer

from cluster.on_ray.hosts import redirect_notices_to_log


def test_notices_that_ray_would_print_go_to_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    printing = ray._private.worker.print_to_stdstream
    assert list(inspect.signature(printing).parameters)[:2] == ["data", "ignore_prefix"]
    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", printing)
    redirect_notices_to_log()
    with caplog.at_level(logging.INFO):
        ray._private.worker.print_to_stdstream({"pid": "autoscaler", "lines": ["one", "two"]}, ignore_prefix=False)
    assert caplog.messages == ["autoscaler: one", "autoscaler: two"]


@pytest.mark.parametrize(
    ("owner", "name"), [(PGStrategy, "_created_placement_group"), (PGStrategy, "workers"), (RendezvousServer, "_httpd")]
)
def test_horovod_still_has_the_attribute(owner: type, name: str) -> None:
    assert f"self.{name}" in inspect.getsource(owner)
