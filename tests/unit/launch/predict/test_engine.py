"""Where predict computes."""

import pytest

from launch.predict.engine import Resources


@pytest.mark.parametrize(
    ("resources", "variable", "on_ray"),
    [
        (Resources(), None, False),
        (Resources(gpus=0), None, False),
        (Resources(gpus=1), None, False),
        (Resources(gpus=2), None, True),
        (Resources(address="auto"), None, True),
        (Resources(address="10.0.0.1:6379", gpus=0), None, True),
        (Resources(), "10.0.0.1:6379", True),
        (Resources(address="local"), "10.0.0.1:6379", False),
        (Resources(address="local", gpus=2), None, True),
    ],
)
def test_a_cluster_is_used_when_it_is_named(
    resources: Resources, variable: str | None, on_ray: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert resources.on_ray == on_ray
