"""What a run requests by default from a cluster that grows, from the launcher's file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config import ClusterConfig
from cluster.remote.scale import Scale, default_request, full_scale
from launch import train_all
from launch.config import load_config

HEAD = {"resources": {"CPU": 8}, "max_workers": 0}
GPU = {"resources": {"CPU": 48, "GPU": 4}, "min_workers": 0, "max_workers": 4}
CPU = {"resources": {"CPU": 16}, "min_workers": 0, "max_workers": 3}


def launcher(max_workers: int | None = 8, **types: dict[str, Any]) -> dict[str, Any]:
    return {"head_node_type": "head", "max_workers": max_workers, "available_node_types": {"head": HEAD, **types}}


SCALES = [
    (launcher(gpu=GPU), {}, 16),
    (launcher(gpu=GPU, cpu=CPU), {}, 16),  # hosts without GPUs are no slots beside hosts with GPUs
    (launcher(gpu=GPU, more={**GPU, "resources": {"GPU": 8}, "max_workers": 1}), {}, 24),
    (launcher(2, gpu=GPU, more={**GPU, "resources": {"GPU": 8}, "max_workers": 1}), {}, 12),  # two workers in all
    (launcher(gpu=GPU), {"slots": 2}, 8),
    (launcher(gpu=GPU), {"gpus": 0}, 8 + 4 * 48),  # the head's cores are slots, too
    (launcher(cpu=CPU), {}, 8 + 3 * 16),
    (launcher(gpu={**GPU, "min_workers": 4}), {}, None),  # always all up: `ray up` brings them
    (launcher(), {}, None),
    (launcher(gpu={**GPU, "resources": {}}), {}, None),  # of unknown size
    ({}, {}, None),
]


@pytest.mark.parametrize(("cluster", "settings", "slots"), SCALES)
def test_full_scale(cluster: dict[str, Any], settings: dict[str, int], slots: int | None) -> None:
    found = full_scale(cluster, ClusterConfig(**settings))  # type: ignore[arg-type]
    assert (found.slots if found else None) == slots


def test_the_request_is_printed_with_its_parts() -> None:
    found = full_scale(launcher(gpu=GPU), ClusterConfig())
    assert found is not None
    assert found.text == "16 GPUs (4 x gpu)"


@pytest.mark.parametrize(
    ("settings", "slots"),
    [({"address": "10.0.0.1:6379"}, 16), ({"address": "local"}, None), ({"address": "x:1", "request_slots": 3}, None)],
)
def test_only_a_joined_cluster_without_a_number_of_its_own(
    tmp_path: Path, settings: dict[str, Any], slots: int | None
) -> None:
    (tmp_path / "bootstrap.yaml").write_text(yaml.safe_dump(launcher(gpu=GPU)))
    found = default_request(ClusterConfig(**settings), tmp_path / "bootstrap.yaml")
    assert (found.slots if found else None) == slots


@pytest.mark.parametrize("content", [None, "", "[1]", "a: ["])
def test_without_a_readable_file_nothing_is_requested(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "bootstrap.yaml").write_text(content)
    assert default_request(ClusterConfig(address="x:1"), tmp_path / "bootstrap.yaml") is None


@pytest.mark.parametrize(("file", "expected"), [("aws.yaml", 16), ("gcp.yaml", 16)])
def test_the_shipped_clouds(file: str, expected: int) -> None:
    found = full_scale(yaml.safe_load((Path("cluster") / file).read_text()), ClusterConfig())
    assert found is not None
    assert found.slots == expected


@pytest.mark.parametrize("scale", [Scale(16, "16 GPUs (4 x gpu)"), None])
def test_a_run_says_what_it_requests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scale: Scale | None
) -> None:
    monkeypatch.setattr("cluster.remote.scale.default_request", lambda cluster: scale)
    config = train_all._at_full_scale(load_config("demo"))
    assert config.cluster.request_slots == (scale.slots if scale else None)
    assert ("requesting 16 GPUs (4 x gpu)" in capsys.readouterr().out) == (scale is not None)
