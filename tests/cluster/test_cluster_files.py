"""The launcher's files that a person fills in, under Ray's own checks."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster.on_ray.wait_for_hosts import expected_hosts
from tests.conftest import ROOT

LAUNCHER_FILES = ("cluster.yaml", "cluster/aws.yaml", "cluster/gcp.yaml")


def prepared(name: str) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / name).read_text())
    return dict(prepare_config(config))


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_rays_own_check_accepts_the_file(name: str) -> None:
    validate_config(prepared(name))


def test_rays_own_check_is_strict() -> None:
    with pytest.raises(jsonschema.ValidationError, match="head_setup_command"):
        validate_config(prepared("cluster.yaml") | {"head_setup_command": []})


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_every_file_keeps_the_cluster_closed(name: str) -> None:
    config = prepared(name)
    (head,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    (worker,) = [command for command in config["worker_start_ray_commands"] if "ray start" in command]
    assert "RAY_AUTH_MODE=token ray start" in head
    assert "RAY_AUTH_MODE=token ray start" in worker
    assert "--dashboard-host=127.0.0.1" in head
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_what_travels_is_there_and_is_all_that_an_installation_needs(name: str) -> None:
    mounts = prepared(name)["file_mounts"]
    local = {source for source in mounts.values() if not source.startswith("~")}
    assert all((ROOT / source).exists() for source in local)
    packages = re.findall(
        r"^    (\w+)$", (ROOT / "setup.cfg").read_text().partition("packages =")[2].partition("\n\n")[0], re.M
    )
    assert {*packages, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= local
    commands = prepared(name)["setup_commands"]
    scripts = {script for command in commands for script in re.findall(r"~/regionstack/(\S+\.sh)", command)}
    assert scripts
    assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts)


def test_only_addresses_user_and_key_are_to_be_filled_in() -> None:
    text = (ROOT / "cluster.yaml").read_text()
    marked = [line.split(":")[0].strip() for line in text.splitlines() if "# <==" in line]
    assert marked == ["head_ip", "worker_ips", "ssh_user", "ssh_private_key"]


@pytest.mark.parametrize(("name", "spot"), [
    ("cluster/aws.yaml", {"InstanceMarketOptions": {"MarketType": "spot"}}),
    ("cluster/gcp.yaml", {"scheduling": {
        "provisioningModel": "SPOT", "instanceTerminationAction": "DELETE", "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
    }}),
])  # fmt: skip
def test_gpu_workers_of_clouds_are_spot_machines_that_come_on_demand(name: str, spot: dict[str, Any]) -> None:
    gpu = prepared(name)["available_node_types"]["gpu"]
    assert spot.items() <= gpu["node_config"].items()
    assert (gpu["min_workers"], gpu["resources"]["GPU"]) == (0, 4)
    assert "GPU" not in prepared(name)["available_node_types"]["head"]["resources"]


@pytest.mark.parametrize(("name", "cloud"), [("cluster/aws.yaml", "aws"), ("cluster/gcp.yaml", "gcp")])
def test_every_machine_of_a_cloud_is_set_up_for_it_and_the_head_builds_for_gpus(name: str, cloud: str) -> None:
    (command,) = prepared(name)["setup_commands"]
    assert command.startswith("GPU=1 ~/regionstack/cluster/setup/host.sh ")
    assert f"--cloud {cloud} " in command
    assert (ROOT / "cluster" / "setup" / f"requirements-{cloud}.lock").is_file()


def test_the_hosts_that_a_run_waits_for_are_those_of_the_file(tmp_path: Path) -> None:
    for name, hosts in (("cluster.yaml", 3), ("cluster/aws.yaml", 1)):
        path = tmp_path / "ray_bootstrap_config.yaml"
        path.write_text(yaml.safe_dump(prepared(name)))
        assert expected_hosts(path) == hosts
    path.write_text("{")
    assert expected_hosts(path) == 1
    assert expected_hosts(tmp_path / "none.yaml") == 1


def test_the_set_up_of_a_host_is_a_valid_script() -> None:
    for script in ("host.sh", "environment.sh"):
        subprocess.run(["bash", "-n", ROOT / "cluster" / "setup" / script], check=True)


def test_the_documented_commands_for_own_hosts_are_those_of_the_test_on_three_hosts() -> None:
    page = (ROOT / "docs" / "cluster" / "own-hosts.md").read_text()
    block = page.partition("```sh\n")[2].partition("```")[0]
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert [command[1] for command in commands] == ["get-auth-token", "up", "rsync-up", "submit", "down"]
    test = (ROOT / "tests" / "cluster" / "test_three_hosts.py").read_text()
    for command in commands:
        words = ", ".join(f'"{word}"' for word in command)
        shared = words.replace('"/srv/regionstack/', 'f"{SHARED}/')
        assert words in test or shared in test, words
