"""The files that a person fills in: Ray's own checks for the launcher's, a strict schema for Kubernetes' manifests."""

import re
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


# --- Kubernetes ------------------------------------------------------------------------------------------------------
# Names, types and required fields of ray.io/v1 as published: ray-operator/config/crd/bases of ray-project/kuberay,
# ray.io_rayclusters.yaml and ray.io_rayjobs.yaml (v1.7), and of the core objects in Kubernetes' API reference. Only the
# fields that our manifests use; any other is refused, so that a misspelt one, which Kubernetes may drop, is seen here.

TEXT, FLAG, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(m|Mi|Gi)?$"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    known = {name.rstrip("_"): schema for name, schema in properties.items()}
    return {"type": "object", "properties": known, "required": list(required), "additionalProperties": False}


def many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


RESOURCES = {"type": "object", "additionalProperties": QUANTITY}
CONTAINER = fields(
    ("name", "image"),
    name=TEXT,
    image=TEXT,
    ports=many(fields(("containerPort",), containerPort=NUMBER, name=TEXT)),
    resources=fields(requests=RESOURCES, limits=RESOURCES),
    volumeMounts=many(fields(("name", "mountPath"), name=TEXT, mountPath=TEXT)),
)
VOLUME = fields(
    ("name",),
    name=TEXT,
    persistentVolumeClaim=fields(("claimName",), claimName=TEXT),
    emptyDir=fields(medium={"enum": ["", "Memory"]}, sizeLimit=QUANTITY),
)
POD = fields(
    ("spec",),
    spec=fields(
        ("containers",),
        containers=many(CONTAINER),
        volumes=many(VOLUME),
        restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
        securityContext=fields(runAsNonRoot=FLAG, runAsUser=NUMBER, fsGroup=NUMBER),
        tolerations=many(fields(key=TEXT, operator={"enum": ["Exists", "Equal"]}, effect=TEXT)),
    ),
)
CLUSTER = fields(
    ("headGroupSpec",),
    rayVersion=TEXT,
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=fields(idleTimeoutSeconds=NUMBER),
    headGroupSpec=fields(("template",), rayStartParams=TEXTS, template=POD),
    workerGroupSpecs=many(
        fields(
            ("groupName", "minReplicas", "maxReplicas", "template"),
            groupName=TEXT,
            replicas=NUMBER,
            minReplicas=NUMBER,
            maxReplicas=NUMBER,
            rayStartParams=TEXTS,
            template=POD,
        )
    ),
)
JOB = fields(
    entrypoint=TEXT,
    clusterSelector=TEXTS,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    backoffLimit=NUMBER,
    submitterPodTemplate=POD,
)
CLAIM = fields(
    ("accessModes", "resources"),
    accessModes=many({"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]}),
    storageClassName=TEXT,
    resources=fields(requests=RESOURCES),
)
KINDS = {
    ("v1", "PersistentVolumeClaim"): CLAIM,
    ("ray.io/v1", "RayCluster"): CLUSTER,
    ("ray.io/v1", "RayJob"): JOB,
}


def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "cluster" / "kuberay.yaml").read_text())
    return {document["kind"]: document for document in documents}


def check_manifest(manifest: dict[str, Any]) -> None:
    spec = KINDS[manifest["apiVersion"], manifest["kind"]]
    outer = fields(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion=TEXT,
        kind=TEXT,
        metadata=fields(("name",), name=TEXT),
        spec=spec,
    )
    jsonschema.validate(manifest, outer)


@pytest.mark.parametrize("kind", [kind for _, kind in KINDS])
def test_manifests_hold_known_fields_alone(kind: str) -> None:
    check_manifest(manifests()[kind])


@pytest.mark.parametrize(("kind", "path", "value"), [
    ("RayCluster", ("authOptions", "mode"), "tokens"),
    ("RayCluster", ("workerGroupSpecs", 0, "minReplica"), 0),
    ("RayCluster", ("headGroupSpec", "rayStartParams", "num-cpus"), 0),
    ("RayJob", ("clusterSelectors",), {}),
    ("PersistentVolumeClaim", ("accessModes",), ["ReadWriteEverywhere"]),
])  # fmt: skip
def test_the_check_of_manifests_can_fail(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    manifest = manifests()[kind]
    place: Any = manifest["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check_manifest(manifest)


def test_manifests_agree_with_each_other_and_with_the_lock() -> None:
    claim, cluster, job = (manifests()[kind] for _, kind in KINDS)
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert f"ray=={cluster['spec']['rayVersion']} " in (ROOT / "cluster/setup/requirements.lock").read_text().replace(
        "[default]", ""
    )
    pods = [cluster["spec"]["headGroupSpec"]["template"]["spec"]]
    pods += [group["template"]["spec"] for group in cluster["spec"]["workerGroupSpecs"]]
    for pod in pods:
        (shared,) = [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
        assert shared["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounted = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted["/srv/regionstack"] == shared["name"]
    (group,) = cluster["spec"]["workerGroupSpecs"]
    gpus = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert f"cluster.request_slots={gpus * group['maxReplicas']}" in job["spec"]["entrypoint"]


def test_the_image_holds_what_the_manifests_expect() -> None:
    text = (ROOT / "cluster" / "Dockerfile").read_text()
    assert "REGIONSTACK_SHARED=/srv/regionstack" in text
    assert "RAY_AUTH_MODE=token" in text
    user = re.search(r"useradd --uid (\d+)", text)
    assert user
    assert (
        int(user[1])
        == manifests()["RayCluster"]["spec"]["headGroupSpec"]["template"]["spec"]["securityContext"]["runAsUser"]
    )
    assert "/opt/regionstack/launch/train_all.py" in manifests()["RayJob"]["spec"]["entrypoint"]
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, flags=re.M)
    assert all((ROOT / source).exists() for line in copied for source in line.split())


def test_the_set_up_of_a_host_is_a_valid_script() -> None:
    for script in ("host.sh", "environment.sh"):
        subprocess.run(["bash", "-n", ROOT / "cluster" / "setup" / script], check=True)
