"""Kubernetes' manifests and the image: KubeRay's published schemas, Kueue's rules, the order of the commands.

The schemas in `crds/` are extracted from KubeRay's CRDs (Apache-2.0) by `crds/extract.py`; they take no unknown field,
since Kubernetes may drop one without a word.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cluster.on_ray.hosts import slots_of
from data_tools.config import from_mapping
from launch.config import load_config
from tests.conftest import ROOT

FOLDER = ROOT / "cluster" / "kubernetes"
DOCUMENT = ROOT / "docs" / "cluster" / "kubernetes.md"
CRDS = sorted((Path(__file__).parent / "crds").glob("kuberay-*.json"))
Manifest = dict[str, Any]


def manifests(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def of_kind(kind: str) -> Manifest:
    (found,) = [one for file in FOLDER.glob("*.yaml") for one in manifests(file.name) if one["kind"] == kind]
    return dict(found)


def fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT: dict[str, Any] = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
MODES = {"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]}


def check(manifest: Manifest, crds: Path) -> None:
    """Validate under the schema of its kind; raises jsonschema.ValidationError."""
    found = json.loads(crds.read_text())
    job = resolved(found, found["kinds"]["RayJob"])
    pods = job["properties"]["submitterPodTemplate"]
    specs = found["kinds"] | {
        "PersistentVolumeClaim": fields(
            ("accessModes", "resources"),
            accessModes={"type": "array", "items": MODES, "minItems": 1},
            storageClassName=TEXT,
            resources=fields(requests=TEXTS),
        ),
        "Job": fields(("template",), backoffLimit={"type": "integer"}, template=pods),
    }
    outer = {"apiVersion": TEXT, "kind": TEXT, "metadata": fields(("name",), name=TEXT, labels=TEXTS)}
    if manifest["kind"] == "ConfigMap":
        schema = fields(("metadata", "data"), **outer, data=TEXTS)
    else:
        schema = fields(("metadata", "spec"), **outer, spec=specs[manifest["kind"]])
    jsonschema.Draft202012Validator(schema | {"$defs": found["$defs"]}).validate(manifest)


def resolved(found: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return dict(found["$defs"][schema["$ref"].rpartition("/")[2]]) if "$ref" in schema else schema


@pytest.mark.parametrize("crds", CRDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("file", ["storage-and-config.yaml", "rayjob.yaml", "rayservice.yaml"])
def test_manifests_hold_fields_alone_that_kuberay_publishes(file: str, crds: Path) -> None:
    for manifest in manifests(file):
        check(manifest, crds)


@pytest.mark.parametrize("crds", CRDS, ids=lambda path: path.stem)
@pytest.mark.parametrize(("kind", "path", "value"), [
    ("RayJob", ("rayClusterSpec", "authOptions", "mode"), "tokens"),
    ("RayJob", ("rayClusterSpec", "workerGroupSpecs", 0, "minReplica"), 0),
    ("RayJob", ("rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
    ("RayJob", ("clusterSelectors",), {}),
    ("RayJob", ("submitterPodTemplate", "spec", "containers", 0, "imagee"), "x"),
    ("RayService", ("serveConfig",), ""),
    ("Job", ("template", "spec", "volume"), []),
    ("PersistentVolumeClaim", ("accessModes",), ["ReadWriteEverywhere"]),
])  # fmt: skip
def test_the_check_of_manifests_can_fail(kind: str, path: tuple[str | int, ...], value: Any, crds: Path) -> None:
    manifest = of_kind(kind)
    place: Any = manifest["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check(manifest, crds)


def pods(spec: Any) -> Iterator[Manifest]:
    """All specs of pods inside a value."""
    if isinstance(spec, dict):
        if "containers" in spec:
            yield spec
        for part in spec.values():
            yield from pods(part)
    elif isinstance(spec, list):
        for part in spec:
            yield from pods(part)


def test_kueue_admits_the_run() -> None:
    """Its webhook refuses a RayJob that uses an existing cluster, keeps its own, or changes the size of it.

    Source: pkg/controller/jobs/rayjob/rayjob_webhook.go of kubernetes-sigs/kueue.
    """
    job = of_kind("RayJob")["spec"]
    assert "clusterSelector" not in job
    assert job["shutdownAfterJobFinishes"] is True
    assert not job["rayClusterSpec"].get("enableInTreeAutoscaling")
    assert len(job["rayClusterSpec"]["workerGroupSpecs"]) < 8
    for group in job["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    assert all(container["resources"]["requests"] for pod in pods(job) for container in pod["containers"])
    assert re.search(r"^    # kueue.x-k8s.io/queue-name: ", (FOLDER / "rayjob.yaml").read_text(), re.M)


def applied() -> list[str]:
    """The files that the documented commands apply, in order."""
    return re.findall(r"kubectl apply -f cluster/kubernetes/(\S+)", DOCUMENT.read_text())


def test_nothing_that_a_manifest_reads_is_applied_after_it() -> None:
    made = {("Secret", "regionstack-serve-token")}  # by a command
    assert applied() == ["storage-and-config.yaml", "rayjob.yaml", "rayservice.yaml"]
    for file in applied():
        for manifest in manifests(file):
            made.add((manifest["kind"], manifest["metadata"]["name"]))
            for pod in pods(manifest):
                assert needed(pod) <= made, f"{file}: {manifest['kind']}"
    assert "kubectl create secret generic regionstack-serve-token" in DOCUMENT.read_text()
    waiting = DOCUMENT.read_text().index("kubectl wait --for=condition=complete job/regionstack-pages")
    assert waiting < DOCUMENT.read_text().index("kubectl apply -f cluster/kubernetes/rayjob.yaml")


def needed(pod: Manifest) -> set[tuple[str, str]]:
    """The objects that the volumes of a pod are made of; each volume that a container mounts is one of them."""
    found = set()
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for volume in volumes.values():
        if claim := volume.get("persistentVolumeClaim"):
            found.add(("PersistentVolumeClaim", claim["claimName"]))
        if config := volume.get("configMap"):
            found.add(("ConfigMap", config["name"]))
        if secret := volume.get("secret"):
            found.add(("Secret", secret["secretName"]))
    for container in pod["containers"]:
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys()
    return found


def test_the_configuration_of_the_config_map_is_the_one_that_the_job_names(tmp_path: Path) -> None:
    (name,) = of_kind("ConfigMap")["data"]
    (tmp_path / name).write_text(of_kind("ConfigMap")["data"][name])
    config = load_config(str(tmp_path / name), [])
    assert not Path(config.run.folder).is_absolute(), "in the shared volume"
    entrypoint = of_kind("RayJob")["spec"]["entrypoint"]
    head = of_kind("RayJob")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    assert f"--config {mounts['config']}/{name} " in entrypoint
    assert of_kind("ConfigMap")["data"][name].count(config.run.folder) == 1
    assert of_kind("RayService")["spec"]["serveConfigV2"].count(f"{mounts['shared']}/{config.run.folder} ") == 1


def test_all_slots_of_the_cluster_are_requested_and_the_head_has_none() -> None:
    spec = of_kind("RayJob")["spec"]
    slots = 0
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        slots += group["replicas"] * slots_of(32, int(limits["nvidia.com/gpu"]), with_gpus=True, wanted=None)
    assert f"cluster.request_slots={slots}" in spec["entrypoint"]
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"


@pytest.mark.parametrize("kind", ["RayJob", "RayService"])
def test_clusters_are_closed_and_of_the_locked_ray(kind: str) -> None:
    spec = of_kind(kind)["spec"]
    cluster = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    lock = (ROOT / "cluster/setup/requirements.lock").read_text()
    assert re.search(rf"^ray(\[[a-z,]+\])?=={re.escape(cluster['rayVersion'])} ", lock, re.M)


def test_pods_run_as_the_images_user_and_do_not_change_the_owner_of_all_pages() -> None:
    user = re.search(r"useradd --uid (\d+)", (ROOT / "cluster" / "Dockerfile").read_text())
    assert user
    for file in FOLDER.glob("*.yaml"):
        for pod in pods(manifests(file.name)):
            assert pod["securityContext"]["runAsUser"] == int(user[1])
            if "fsGroup" in pod["securityContext"]:
                assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_the_service_is_the_application_of_this_project() -> None:
    config = yaml.safe_load(of_kind("RayService")["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    from ray.serve.schema import ServeDeploySchema

    from launch.service.deployment import Arguments

    ServeDeploySchema.model_validate(config)
    assert application["import_path"] == "launch.service.deployment:app"
    given = from_mapping(Arguments, application["args"], where="args")
    assert given.token_file, "nobody classifies pages without the token"


# --- the image --------------------------------------------------------------------------------------------------------


def stages() -> list[list[str]]:
    """The instructions of each stage of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "cluster" / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    starts = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def copied(stage: list[str]) -> list[tuple[list[str], str]]:
    """What a stage copies from the project: (sources, target)."""
    words = [line.split()[1:] for line in stage if line.startswith("COPY ") and "--from" not in line]
    return [(line[:-1], line[-1]) for line in words]


def test_a_changed_line_of_the_project_does_not_rebuild_the_environment(tmp_path: Path) -> None:
    """The first stage's files suffice for the set-up, and none of them is a folder of the project but cluster/setup."""
    environment, final = stages()
    (build,) = [number for number, line in enumerate(environment) if "environment.sh" in line]
    assert all(not line.startswith("COPY") for line in environment[build:])
    for sources, target in copied(environment):
        for source in sources:
            place = tmp_path / target if target.endswith("/") or target == "./" else None
            into = place / Path(source).name if place else tmp_path / target
            into.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, into)
    folders = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir()]
    assert sorted(folders) == ["cluster", "cluster/setup", "data_tools", "launch", "trainer"]
    assert not any("README" in source for sources, _ in copied(environment) for source in sources), "it changes often"
    look = [sys.executable, "-m", "cluster.setup.horovod_wheel", "--cached"]
    ended = subprocess.run(
        look, cwd=tmp_path, env={"REGIONSTACK_CACHE": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, ""), "it looks for the wheel and finds none"
    assert {target for _, target in copied(final)} == {
        f"/opt/regionstack/{folder}" for folder in ("cluster", "data_tools", "trainer", "launch")
    }
    layers = [line.split()[0] for line in final if line.startswith("COPY")]
    assert "--from=environment" in final[[line.split()[0] for line in final].index("COPY")], f"first of {layers}"


def test_no_test_tools_are_in_the_image() -> None:
    """A folder `tests` is what makes the set-up install them."""
    sources = {source for stage in stages() for part, _ in copied(stage) for source in part}
    assert "tests" not in sources
    assert "." not in sources
    ignored = (ROOT / "cluster" / "Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*" or "*" in ignored
    assert "!tests" not in ignored


def test_the_image_finds_gkes_driver_and_takes_no_gpu_that_it_was_not_given() -> None:
    (variables,) = [line for line in stages()[-1] if line.startswith("ENV ")]
    assert "LD_LIBRARY_PATH=/usr/local/nvidia/lib64" in variables
    assert "NVIDIA_VISIBLE_DEVICES" not in variables
    assert "RAY_AUTH_MODE=token" in variables
    assert "REGIONSTACK_SHARED=/srv/regionstack" in variables
    assert any("/srv/regionstack" in line for line in stages()[-1] if line.startswith("RUN ")), "the folder exists"


def test_the_documented_docker_run_gives_nccl_shared_memory() -> None:
    text = (ROOT / "cluster" / "Dockerfile").read_text().replace("\\\n#", "")
    (line,) = [line for line in text.splitlines() if "docker run" in line]
    assert "--shm-size=8g" in line
    assert "--gpus all" in line
