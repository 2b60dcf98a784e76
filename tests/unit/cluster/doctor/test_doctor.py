import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import launch.doctor
from cluster.doctor.builds import Build, build_of, capability, serves
from cluster.doctor.checks import GIB, judge
from cluster.doctor.facts import ClusterFacts, FolderFacts, NodeFacts, Requirements, built_of_version, errors
from cluster.doctor.probe import (
    Probe,
    examine_folder,
    find_interface,
    gpus_in,
    list_capabilities,
    list_gpus,
    tensorflow_capabilities,
)
from cluster.setup.horovod_target import CAPABILITIES
from data_tools.errors import UserError
from launch.doctor import absent_hosts, launcher_hosts

VERSIONS = {
    "python": "3.11.7",
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "horovod": "0.28.1+tf2.21.0.cuda12.9.nccl2.27.7.sm80.sm90.r2",
    "ray": "2.60.0",
    "numpy": "2.4.0",
    "regionstack": "0.1.0",
}
RUN, SHARDS = "/shared/run", "/shared/shards"
REQUIRED = Requirements(
    locked={"tensorflow": "2.21.0", "horovod": "0.28.1"}, run_folder=RUN, shards_folder=SHARDS, shards_complete=True
)


ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2"}


def node(host: str, **changes: Any) -> NodeFacts:
    """A healthy host with two GPUs."""
    address = ADDRESSES[host]
    folders = tuple(
        FolderFacts(path=path, seen=True, written=True, read_back=True, contents="c0", free=90 * GIB, total=100 * GIB)
        for path in (RUN, SHARDS)
    )
    other = "b" if host == "a" else "a"
    healthy = NodeFacts(
        host=host, hostname=host, address=address, own=host == "a", versions=VERSIONS, source="9b1c", ray_gpus=2,
        built=("gloo", "nccl"), gpus=(f"GPU-{host}0", f"GPU-{host}1"), tensorflow_gpus=2, interface="eth0",
        name_address=address, reverse=host, peers={other: ADDRESSES[other]},
        folders=folders, open_files=65536, temporary_free=50 * GIB, temporary_total=100 * GIB,
    )  # fmt: skip
    return replace(healthy, **changes)


def cluster(a: dict[str, Any] | None = None, b: dict[str, Any] | None = None, **more: Any) -> ClusterFacts:
    return ClusterFacts(nodes=(node("a", **(a or {})), node("b", **(b or {}))), joined=True, **more)


def folder(path: str = RUN, **changes: Any) -> dict[str, Any]:
    """The folders of a healthy host, one of them changed."""
    folders = node("b").folders
    return {"folders": tuple(replace(one, **changes) if one.path == path else one for one in folders)}


def other(**versions: str) -> dict[str, Any]:
    return {"versions": VERSIONS | versions}


def without(name: str) -> dict[str, Any]:
    return {"versions": {key: value for key, value in VERSIONS.items() if key != name}}


def horovod(build: str) -> dict[str, Any]:
    return other(horovod=f"0.28.1+{build}")


CPU_HEAD = horovod("tf2.21.0.cpu.r2") | {"ray_gpus": 0, "gpus": (), "built": ("gloo",), "tensorflow_gpus": 0}
TENSORFLOW = {"tensorflow_capabilities": ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")}


def test_on_cores_the_builds_of_all_hosts_with_slots_count() -> None:
    required = replace(REQUIRED, gpus=False)
    facts = cluster(a=CPU_HEAD)
    assert [finding.where for finding in errors(judge(facts, required))] == ["b"], "ranks run on both"
    assert not errors(judge(cluster(a=CPU_HEAD | {"slots": 0}), required)), "its raylet offers no core"
    same = horovod("tf2.21.0.cpu.r2")
    assert not errors(judge(cluster(a=CPU_HEAD, b=same), required))


def test_a_healthy_cluster_has_nothing_but_the_note_of_its_interface() -> None:
    (note,) = judge(cluster(), REQUIRED)
    assert (note.level, note.check) == ("note", "network")
    assert "eth0" in note.what


@pytest.mark.parametrize(
    ("facts", "level", "check", "where"),
    [
        # hosts
        (cluster(silent={"c": "no answer in 60 s"}), "error", "hosts", "c"),
        (cluster(absent={"10.0.0.9": "no route"}), "error", "hosts", "10.0.0.9"),
        # versions
        (cluster(b=other(tensorflow="2.20.0")), "error", "versions", "b"),
        (cluster(b=other(horovod="0.27.0")), "error", "versions", "b"),
        (cluster(b=other(ray="2.59.0")), "error", "versions", "b"),
        (cluster(b=other(regionstack="0.2.0")), "error", "versions", "b"),
        (cluster(b=other(python="3.12.1")), "error", "versions", "b"),
        (cluster(b=other(python="3.11.9")), "warning", "versions", "b"),
        (cluster(b=without("horovod")), "error", "versions", "b"),
        (cluster(b={"source": "3f2a"}), "error", "versions", "b"),
        (cluster(a=other(tensorflow="2.20.0")), "warning", "versions", "a"),
        (cluster(a=other(tensorflow="2.20.0")), "error", "versions", "a"),
        (cluster(b=horovod("tf2.20.0.cuda12.9.nccl2.27.7.sm90.r2")), "error", "versions", "b"),
        (cluster(b=horovod("tf2.21.0.cuda13.0.nccl2.27.7.sm90.r2")), "error", "versions", "b"),
        (cluster(b=horovod("tf2.21.0.cuda12.9.nccl2.30.0.sm90.r2")), "error", "versions", "b"),
        (cluster(b=horovod("tf2.21.0.cuda12.9.nccl2.27.7.sm90.r1")), "error", "versions", "b"),
        (cluster(b=other(horovod="0.28.1")), "error", "versions", "b"),
        (cluster(a=CPU_HEAD, b=other(tensorflow="2.20.0")), "error", "versions", "b"),
        (cluster(a=CPU_HEAD | without("horovod")), "note", "versions", "a"),
        # Horovod
        (cluster(b={"load_error": "ImportError: libnccl"}), "error", "horovod", "b"),
        (cluster(b={"built": ("nccl",)}), "error", "horovod", "b"),
        (cluster(b={"built": ("gloo",)}), "error", "horovod", "b"),
        # GPUs
        (cluster(b={"gpus": ()}), "error", "gpus", "b"),
        (cluster(b={"ray_gpus": 0}), "warning", "gpus", "b"),
        (cluster(b={"tensorflow_gpus": 0}), "error", "gpus", "b"),
        (cluster(b={"gpus": ("GPU-a0", "GPU-b1")}), "error", "gpus", "a, b"),
        (cluster(b={"capabilities": ("7.5",)}), "error", "gpus", "b"),
        (cluster(b={"capabilities": ("9.0", "7.0")}), "error", "gpus", "b"),
        (cluster(b={"capabilities": ("5.2",), "tensorflow_capabilities": ("sm_60", "compute_90")}
                 | horovod("tf2.21.0.cuda12.9.nccl2.27.7.sm50.sm90.r2")), "error", "gpus", "b"),
        # names
        (cluster(b={"name_address": None}), "error", "names", "b"),
        (cluster(b={"name_address": "127.0.1.1"}), "error", "names", "b"),
        (cluster(a={"peers": {"b": None}}), "warning", "names", "a"),
        (cluster(a={"peers": {"b": "10.9.9.9"}}), "warning", "names", "a"),
        (cluster(b={"reverse": None}), "note", "names", "b"),
        # network
        (cluster(b={"interface": None, "interface_error": "no interface ib0 (found lo)"}), "error",
         "network", "b"),
        (cluster(b={"address": "127.0.0.1"}), "error", "network", "b"),
        (cluster(a={"unreached": ("b (10.0.0.2:6380)",)}), "error", "network", "a"),
        # storage
        (cluster(b=folder(seen=False, error="No such file or directory")), "error",
         "storage", "b"),
        (cluster(b=folder(seen=False)), "error", "storage", "b"),
        (cluster(b=folder(read_back=False)), "error", "storage", "b"),
        (cluster(b=folder(SHARDS, contents="c1")), "error", "storage", "b"),
        (cluster(b=folder(written=False, error="Read-only file system")), "error",
         "storage", "b"),
        # disk, clock, limits, authentication
        (cluster(a=folder(free=GIB)), "warning", "disk", "a"),
        (cluster(b={"temporary_free": GIB}), "warning", "disk", "b"),
        (cluster(b={"temporary_free": 4 * GIB}), "warning", "disk", "b"),
        (cluster(b={"clock_off_s": 9.0}), "warning", "clock", "b"),
        (cluster(b={"clock_off_s": -9.0}), "warning", "clock", "b"),
        (cluster(b={"open_files": 1024}), "warning", "limits", "b"),
        (cluster(b={"authenticated": False}), "warning", "authentication", "b"),
    ],
)  # fmt: skip
def test_each_fault_is_one_finding_of_its_check_and_host(
    facts: ClusterFacts, level: str, check: str, where: str
) -> None:
    known = {finding.line() for finding in judge(cluster(), REQUIRED)}
    found = [finding for finding in judge(facts, REQUIRED) if finding.line() not in known]
    assert (level, check, where) in [(finding.level, finding.check, finding.where) for finding in found]
    assert all("\n" not in finding.line() for finding in found)


@pytest.mark.parametrize(
    ("facts", "required"),
    [
        (cluster(b={"clock_off_s": 4.0, "clock_error_s": 5.0}), REQUIRED),  # not known well enough to say so
        (cluster(b=folder(SHARDS, written=False, error="Read-only file system")), REQUIRED),  # read by workers only
        (cluster(b={"built": ("gloo",), "gpus": (), "tensorflow_gpus": 0}), replace(REQUIRED, gpus=False)),
        (cluster(b={"built": None}), REQUIRED),  # another build than our own, and it was not loaded
        (cluster(b={"open_files": -1}), REQUIRED),  # no limit
        # A head that only drives: another build, one that does not load here, or one of another origin.
        (cluster(a=CPU_HEAD), REQUIRED),
        (cluster(a=CPU_HEAD | other(horovod="0.28.1")), REQUIRED),
        (cluster(a=CPU_HEAD | {"versions": VERSIONS, "load_error": "libcuda.so.1: cannot open"}), REQUIRED),
        (cluster(b=CPU_HEAD | without("horovod")), REQUIRED),  # a host without GPUs among hosts with them
        # Two toolkits of CUDA 12, or builds for other cards.
        (cluster(b=horovod("tf2.21.0.cuda12.4.nccl2.27.7.sm80.sm90.r2")), REQUIRED),
        (cluster(b=horovod("tf2.21.0.cuda12.9.nccl2.27.7.sm70.r2") | {"capabilities": ("7.5",)}), REQUIRED),
        (cluster(b={"capabilities": ("8.9", "12.0")} | TENSORFLOW), REQUIRED),
        (cluster(a={"capabilities": ("7.0",), "ray_gpus": 0, "gpus": ()}), REQUIRED),  # nothing trains on it
        # One host: its worlds stay on the loopback interface.
        (ClusterFacts(nodes=(node("a", name_address="127.0.1.1", interface=None, peers={}),)), REQUIRED),
    ],
)
def test_what_is_not_a_fault(facts: ClusterFacts, required: Requirements) -> None:
    assert [finding.line() for finding in judge(facts, required) if finding.level != "note"] == []


def test_the_driver_needs_write_access_to_shards_while_pages_are_unconverted() -> None:
    facts = cluster(a=folder(SHARDS, written=False, error="Permission denied"))
    assert not errors(judge(facts, REQUIRED))
    found = errors(judge(facts, replace(REQUIRED, shards_complete=False)))
    assert [finding.where for finding in found] == ["a"]


@pytest.mark.parametrize(
    ("version", "built"),
    [
        ("0.28.1+tf2.21.0.cpu.r2", ("gloo",)),
        ("0.28.1+tf2.21.0.cuda13.0.nccl2.27.7.sm80.sm90.r2", ("gloo", "nccl")),
        ("0.28.1", None),
        (None, None),
    ],
)
def test_what_a_wheel_was_built_with(version: str | None, built: tuple[str, ...] | None) -> None:
    assert built_of_version(version) == built


@pytest.mark.parametrize(
    ("version", "build"),
    [
        ("0.28.1+tf2.21.0.cpu.r2", Build("2.21.0", None, None, (), "r2")),
        ("0.28.1+tf2.21.0.cuda12.9.nccl2.32.3.sm60.sm90.r12", Build("2.21.0", "12.9", "2.32.3", ("60", "90"), "r12")),
        ("0.28.1+tf2.22.0rc1.cpu.r3", Build("2.22.0rc1", None, None, (), "r3")),
        ("0.28.1", None),
        ("0.28.1+cu129", None),
        ("", None),
    ],
)
def test_what_a_version_says_of_its_build(version: str, build: Build | None) -> None:
    assert build_of(version) == build


@pytest.mark.parametrize(
    ("built", "card", "served"),
    [
        (("80", "90"), "8.0", True),
        (("80", "90"), "8.9", True),  # machine code runs on later minor releases
        (("86",), "8.0", False),  # but not on earlier ones
        (("80",), "9.0", False),  # nor on another major one
        (("80", "compute_90"), "9.0", True),
        (("80", "compute_90"), "12.0", True),  # the driver compiles PTX for whatever is newer
        (("80", "compute_90"), "7.5", False),
        (("sm_60", "sm_70", "sm_80", "sm_89", "compute_90"), "7.5", True),
        (("sm_60", "sm_70", "sm_80", "sm_89", "compute_90"), "6.1", True),
        (("sm_60", "sm_70", "sm_80", "sm_89", "compute_90"), "5.2", False),
        ((), "9.0", False),
    ],
)
def test_which_cards_a_build_serves(built: tuple[str, ...], card: str, served: bool) -> None:
    found = capability(card)
    assert found is not None
    assert serves(built, found) is served


def test_the_default_build_serves_all_that_the_installed_tensorflow_serves() -> None:
    names = CAPABILITIES.split(",")
    for name in tensorflow_capabilities():
        card = capability(name)
        assert card is not None
        assert serves(names, card, ptx=names[-1:]), name


def test_the_probe_reports_this_host_as_plain_data() -> None:
    request = {"address": "127.0.0.1", "interface": None, "peers": [["nowhere.invalid", "127.0.0.1", 1]], "folders": [],
             "token": "m", "host_tag": "t", "load": False}  # fmt: skip
    found = Probe().look(request)
    assert found["interface"] == "lo"
    assert found["peers"] == {"nowhere.invalid": None}
    assert found["unreached"] == ["nowhere.invalid (127.0.0.1:1)"]
    assert found["versions"]["tensorflow"]
    assert len(found["source"]) == 8
    assert find_interface("203.0.113.9", None)[1].startswith("no interface holds 203.0.113.9")
    assert find_interface("127.0.0.1", "ib7")[1].startswith("no interface ib7 (found ")


def test_a_folder_is_judged_by_the_drivers_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange" / "driver").write_text("token")
    (tmp_path / "manifest.json").write_text("{}")
    request = {"path": str(tmp_path), "exchange": "exchange", "contents": ["manifest.json"]}
    found = examine_folder(request, token="token", host_tag="host-1")
    assert (found["seen"], found["written"], found["error"]) == (True, True, None)
    assert (tmp_path / "exchange" / "host-1").read_text() == "token"
    assert examine_folder(request, token="other", host_tag="host-1")["seen"] is False
    assert examine_folder(request | {"contents": ["gone.json"]}, token="token", host_tag="host-1")["contents"] is None
    (tmp_path / "file").touch()
    found = examine_folder(
        {"path": str(tmp_path / "file"), "exchange": None, "contents": []}, token="token", host_tag="host-1"
    )
    assert (found["seen"], found["written"], found["error"]) == (None, False, "Not a directory")


def test_a_missing_host_with_and_without_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(launch.doctor, "SSH_PORT", server.getsockname()[1])
        there = launch.doctor.absent_hosts(["127.0.0.1"], cluster())
    gone = launch.doctor.absent_hosts(["127.0.0.1"], cluster())
    assert there == {"127.0.0.1": "SSH answers there, so Ray is not up or was rejected"}
    assert gone == {"127.0.0.1": "nothing answers on its SSH port: Connection refused"}


def test_gpus_from_the_drivers_files(tmp_path: Path) -> None:
    for bus, uuid in (("0000:05:00.0", "GPU-5b"), ("0000:04:00.0", "GPU-4a")):
        (tmp_path / bus).mkdir()
        text = f"Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 190\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\n"
        (tmp_path / bus / "information").write_text(text)
    assert gpus_in(tmp_path) == ["GPU-4a", "GPU-5b"]
    assert gpus_in(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("printed", "gpus", "capabilities"),
    [
        ("GPU-4a\n3.5\nGPU-5b\n12.0\n", ["GPU-4a", "GPU-5b"], ["12.0", "3.5"]),
        ("GPU-4a\r\n8.9\r\n", ["GPU-4a"], ["8.9"]),
        ("No devices were found\n", [], []),
        ("Unable to determine the device handle for GPU0000:01:00.0: Unknown Error\nGPU-5b\n", ["GPU-5b"], []),
        ("[N/A]\n[Not Supported]\n", [], []),
        ("\udcff\udcfe\udc80\nGPU-5b\n", ["GPU-5b"], []),
    ],
)
def test_only_gpus_count_in_what_nvidia_smi_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, gpus: list[str], capabilities: list[str]
) -> None:
    (tmp_path / "printed").write_bytes(printed.encode(errors="surrogateescape"))
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path / 'printed'}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_gpus() == gpus
    assert list_capabilities() == capabilities


def test_a_card_that_tensorflow_cannot_serve_is_one_error_without_advice_to_build_for_it() -> None:
    (found,) = errors(judge(cluster(b={"capabilities": ("3.5",)} | TENSORFLOW), REQUIRED))
    assert "3.5, but TensorFlow" in found.what
    assert "HOROVOD" not in found.advice


def test_a_build_for_one_architecture_alone_serves_no_other() -> None:
    build = horovod("tf2.21.0.cuda12.9.nccl2.27.7.sm80.sm90a.r2")
    assert not errors(judge(cluster(b=build | {"capabilities": ("8.9", "9.0")}), REQUIRED))
    (found,) = errors(judge(cluster(b=build | {"capabilities": ("12.0",)}), REQUIRED))
    assert "CC_LIST=80,90a,120 " in found.advice


def test_hosts_of_a_cluster_file_that_ray_does_not_have() -> None:
    named = launcher_hosts({"provider": {"head_ip": "10.0.0.1", "worker_ips": ["b", "nowhere.invalid"]}}, "x.yaml")
    assert absent_hosts(named, cluster()) == {"nowhere.invalid": "the name does not resolve here"}
    with pytest.raises(UserError, match=r"x\.yaml: provider\.head_ip is missing"):
        launcher_hosts({"provider": {"type": "aws"}}, "x.yaml")
