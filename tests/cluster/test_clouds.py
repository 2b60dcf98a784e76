"""aws.yaml and gcp.yaml against what stands for the clouds here: Ray's providers, moto, Google's discovery document."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from data_tools.conversion.convert import ShardConfig, convert
from tests.cluster.cloud_tools import cloud_packages, environment, python
from tests.conftest import ROOT
from tests.helpers.ports import free_ports
from tests.helpers.synthetic_pages import made_data
from tests.helpers.waiting import wait_until

PROVIDER = """
import sys
from ray.autoscaler._private.providers import _get_node_provider, _NODE_PROVIDERS
print(_NODE_PROVIDERS[sys.argv[1]]({"type": sys.argv[1]}).__name__)
"""
BOOTSTRAP = """
import json, sys, time, yaml
from moto import mock_aws
time.sleep = lambda seconds: None  # Ray waits for Amazon's services to spread what it made

@mock_aws
def main():
    import boto3
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.util import prepare_config
    ec2, iam = boto3.client("ec2", "us-west-2"), boto3.client("iam")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="regionstack", Description="x", VpcId=vpc)["GroupId"]
    inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[inside])
    for name in ("regionstack-head", "regionstack-worker"):
        iam.create_instance_profile(InstanceProfileName=name)
    made = bootstrap_aws(prepare_config(yaml.safe_load(open(sys.argv[1]))))
    zones = {each["SubnetId"]: each["AvailabilityZone"] for each in ec2.describe_subnets()["Subnets"]}
    found = {"roles": len(iam.list_roles()["Roles"]), "head": made.get("head_node"), "types": {}}
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    found["open"] = [rule for rule in rules if rule["IpRanges"]]
    for name, kind in made["available_node_types"].items():
        node = kind["node_config"]
        found["types"][name] = {
            "zones": sorted({zones[subnet] for subnet in node["SubnetIds"]}),
            "named_group": node["SecurityGroupIds"] == [group],
            "profile": node["IamInstanceProfile"],
        }
    print(json.dumps(found))

main()
"""


@pytest.fixture(scope="module")
def packages() -> Path:
    return cloud_packages()


@pytest.mark.parametrize(("cloud", "provider"), [("aws", "AWSNodeProvider"), ("gcp", "GCPNodeProvider")])
def test_the_heads_environment_imports_rays_provider(packages: Path, cloud: str, provider: str) -> None:
    """Ray's autoscaler on the head starts no machine where this fails."""
    assert python(packages, PROVIDER, cloud).split()[-1] == provider


def test_on_amazon_all_machines_are_in_one_zone_and_in_the_named_group(packages: Path, tmp_path: Path) -> None:
    output = python(packages, BOOTSTRAP, str(ROOT / "cluster" / "aws.yaml"), HOME=str(tmp_path))
    found = json.loads(output.splitlines()[-1])
    for name, kind in found["types"].items():
        assert kind == {
            "zones": ["us-west-2a"],
            "named_group": True,
            "profile": {"Name": f"regionstack-{'head' if name == 'head' else 'worker'}"},
        }
    assert found["roles"] == 0, "Ray makes no role of its own, which may do anything with EC2 and S3"
    assert found["open"] == [], "and opens no port to the internet"


def schema_of(packages: Path, name: str) -> dict[str, Any]:
    """The JSON schema of a resource of Google's Compute Engine, strict about unknown fields."""
    found = packages / "googleapiclient" / "discovery_cache" / "documents" / "compute.v1.json"
    schemas = json.loads(found.read_text())["schemas"]
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
        for field in schema.get("properties", {}).values():
            if field.get("format") == "int64":
                field["type"] = ["string", "integer"]  # written as text, and also accepted as a number
    return json.loads(json.dumps({"$ref": name, "$defs": schemas}).replace('"$ref": "', '"$ref": "#/$defs/'))


def check(value: Any, schema: dict[str, Any]) -> None:
    """Validate without a look at the schema itself, whose limits are written as text."""
    jsonschema.Draft202012Validator(schema).validate(value)


def test_google_knows_every_field_of_its_machines(packages: Path) -> None:
    schema = schema_of(packages, "Instance")
    config = yaml.safe_load((ROOT / "cluster" / "gcp.yaml").read_text())
    for kind in config["available_node_types"].values():
        check(kind["node_config"], schema)
    gpu = config["available_node_types"]["gpu"]["node_config"]
    for wrong in ({"scheduling": [{"preemptible": True}]}, {"schedulling": {}}, {"disks": [{"boot": "yes, please"}]}):
        with pytest.raises(jsonschema.ValidationError):
            check(gpu | wrong, schema)


def test_google_offers_the_values_that_the_file_names(packages: Path) -> None:
    scheduling = schema_of(packages, "Scheduling")["$defs"]["Scheduling"]["properties"]
    config = yaml.safe_load((ROOT / "cluster" / "gcp.yaml").read_text())
    chosen = config["available_node_types"]["gpu"]["node_config"]["scheduling"]
    for name in ("provisioningModel", "instanceTerminationAction", "onHostMaintenance"):
        assert chosen[name] in scheduling[name]["enum"]
    zone = config["provider"]["availability_zone"]
    for kind in config["available_node_types"].values():
        for disk in kind["node_config"]["disks"]:
            assert disk["initializeParams"]["diskType"].startswith(f"zones/{zone}/diskTypes/")


def test_this_test_reads_the_packages_of_the_lock(packages: Path) -> None:
    version = python(packages, "import boto3, s3fs, gcsfs; print(boto3.__version__)").strip()
    assert f"boto3=={version} " in (ROOT / "cluster" / "setup" / "requirements-aws.lock").read_text()
    assert sys.prefix not in python(packages, "import boto3; print(boto3.__file__)")


@pytest.fixture(scope="module")
def amazon(packages: Path) -> Iterator[str]:
    """The address of moto's server, which answers as Amazon does."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(
        command, env=environment(packages), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_until(lambda: listens(port), "moto's server", limit_s=60)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


SETS_TO_S3 = """
import sys, fsspec
files = fsspec.filesystem("s3")
files.mkdir("pages", region_name="us-west-2")
files.put(sys.argv[1].rstrip("/") + "/", "pages/shards/", recursive=True)
"""
FETCH = """
import sys
from pathlib import Path
from data_tools.shards.fetch import fetch
print(fetch(sys.argv[1], Path(sys.argv[2])))
"""


def test_shards_arrive_from_a_bucket(packages: Path, amazon: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    convert(made_data(tmp_path), ShardConfig(folder=str(made), height=16, width=12), regions={}, seed=1, workers=1)
    python(packages, SETS_TO_S3, str(made), AWS_ENDPOINT_URL=amazon)
    output = python(packages, FETCH, "s3://pages/shards", str(tmp_path / "here"), AWS_ENDPOINT_URL=amazon)
    assert output.strip() == "['test/holistic', 'train/holistic', 'val/holistic']"
    there = {path.relative_to(made): path.read_bytes() for path in made.glob("*/*/*")}
    assert {
        path.relative_to(tmp_path / "here"): path.read_bytes() for path in (tmp_path / "here").glob("*/*/*")
    } == there


@pytest.mark.parametrize(("url", "says"), [("s3://no-such-bucket/x", "not found"), ("s3://pages/nothing", "not found")])
def test_a_bucket_without_sets_is_one_line(packages: Path, amazon: str, tmp_path: Path, url: str, says: str) -> None:
    command = [sys.executable, "-m", "launch.cli", "fetch", url, str(tmp_path / "here")]
    variables = environment(packages) | {"AWS_ENDPOINT_URL": amazon}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert url in line
    assert says in line


# --- the documented commands, executed as they stand ------------------------------------------------------------------

IMAGE = "ami-0123456789abcdef0"
# moto does not know Amazon's public parameters.
STAND_IN = f'aws() {{ if [ "$1" = ssm ]; then echo {IMAGE}; else command aws "$@"; fi; }}\n'
BOOTSTRAP_MADE = """
import json, sys, yaml
import boto3
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.util import prepare_config
made = bootstrap_aws(prepare_config(yaml.safe_load(open(sys.argv[1]))))
ec2, iam, efs = (boto3.client(name, "us-west-2") for name in ("ec2", "iam", "efs"))
(group,) = ec2.describe_security_groups(GroupNames=["regionstack"])["SecurityGroups"]
(system,) = efs.describe_file_systems()["FileSystems"]
(target,) = efs.describe_mount_targets(FileSystemId=system["FileSystemId"])["MountTargets"]
print(json.dumps({
    "nodes": {name: kind["node_config"] for name, kind in made["available_node_types"].items()},
    "group": group, "efs": system["FileSystemId"], "mount": target,
    "mount_groups": efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])["SecurityGroups"],
    "roles": {
        role["RoleName"]: iam.get_role_policy(RoleName=role["RoleName"], PolicyName="regionstack")["PolicyDocument"]
        for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("regionstack")
    },
    "profiles": {
        each["InstanceProfileName"]: [role["RoleName"] for role in each["Roles"]]
        for each in iam.list_instance_profiles()["InstanceProfiles"]
    },
    "setup": made["setup_commands"],
}, default=str))
"""


def blocks(name: str) -> list[str]:
    """The shell blocks of a page in docs/cluster."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "cluster" / name).read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def prepared_amazon(packages: Path, amazon: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the commands of docs/cluster/aws.md have made, and what Ray makes of the file that they have filled in."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "cluster", project / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    variables = environment(packages) | {"AWS_ENDPOINT_URL": amazon, "HOME": str(project), "AWS_PAGER": ""}
    once = STAND_IN + blocks("aws.md")[0]
    ended = subprocess.run(
        ["bash", "-eu", "-c", once],
        env=variables,
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = str(project / "cluster" / "aws.yaml")
    output = python(packages, BOOTSTRAP_MADE, made, AWS_ENDPOINT_URL=amazon, HOME=str(project))
    return dict(json.loads(output.splitlines()[-1])) | {"file": (project / "cluster" / "aws.yaml").read_text()}


def test_the_documented_commands_fill_in_every_place(prepared_amazon: dict[str, Any]) -> None:
    text = prepared_amazon["file"]
    assert IMAGE in text
    assert f"--nfs {prepared_amazon['efs']}.efs.us-west-2.amazonaws.com:/ " in text
    assert not re.search(r"(ami|fs)-0{17}", text)


def test_the_storage_is_reached_by_every_machine(prepared_amazon: dict[str, Any]) -> None:
    group, mount = prepared_amazon["group"], prepared_amazon["mount"]
    assert prepared_amazon["mount_groups"] == [group["GroupId"]]
    for node in prepared_amazon["nodes"].values():
        assert node["SubnetIds"] == [mount["SubnetId"]]
        assert node["SecurityGroupIds"] == [group["GroupId"]]


def test_only_ssh_from_one_address_comes_in(prepared_amazon: dict[str, Any]) -> None:
    rules = prepared_amazon["group"]["IpPermissions"]
    outside = [
        (rule.get("FromPort"), [each["CidrIp"] for each in rule["IpRanges"]]) for rule in rules if rule["IpRanges"]
    ]
    assert outside == [(22, ["203.0.113.7/32"])]
    (inside,) = [rule for rule in rules if rule["UserIdGroupPairs"]]
    assert inside["IpProtocol"] == "-1"


def test_machines_get_narrow_roles(prepared_amazon: dict[str, Any]) -> None:
    assert prepared_amazon["profiles"] == {
        "regionstack-head": ["regionstack-head"],
        "regionstack-worker": ["regionstack-worker"],
    }
    for name, policy in prepared_amazon["roles"].items():
        for statement in policy["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions), name
            if not any(action.startswith("ec2:") for action in actions):
                assert "my-bucket" in statement["Resource"] or "123456789012" in statement["Resource"]
    worker = json.dumps(prepared_amazon["roles"]["regionstack-worker"])
    assert "PutObject" not in worker
    assert "ec2:" not in worker


def test_the_documented_commands_are_valid_shell() -> None:
    for name in ("aws.md", "gcp.md", "kubernetes.md", "own-hosts.md"):
        for block in blocks(name):
            subprocess.run(["bash", "-n"], input=block, text=True, check=True)
