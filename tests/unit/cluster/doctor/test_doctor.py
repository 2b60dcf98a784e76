import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import launch.doctor
from cluster.doctor.checks import GIB, judge
from cluster.doctor.facts import ClusterFacts, FolderFacts, NodeFacts, built_of_version
from cluster.doctor.findings import Wanted, errors
from cluster.doctor.probe import Probe, find_interface, gpus_in, look_at_folder
from data_tools.errors import UserError
from launch.doctor import absent_hosts, launcher_hosts

VERSIONS = {
    "python": "3.11.7",
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "horovod": "0.28.1+tf2.21.0.cuda13.0.nccl2.27.7.sm90.r2",
    "ray": "2.60.0",
    "numpy": "2.4.0",
    "regionstack": "0.1.0",
}
RUN, SHARDS = "/shared/run", "/shared/shards"
WANTED = Wanted(
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


def test_a_healthy_cluster_has_nothing_but_the_note_of_its_interface() -> None:
    findings = judge(cluster(), WANTED)
    assert [finding.line() for finding in findings] == [
        "a (10.0.0.1), b (10.0.0.2): Gloo and NCCL use eth0; cluster.interface chooses another"
    ]
    assert not errors(findings)


@pytest.mark.parametrize(
    ("facts", "level", "line"),
    [
        # hosts
        (cluster(silent={"c": "no answer in 60 s"}), "error", "c: Ray knows it and it does not answer (no answer in"),
        (cluster(absent={"10.0.0.9": "no route"}), "error", "10.0.0.9: named in the cluster's file and not in the"),
        # versions
        (cluster(b=other(tensorflow="2.20.0")), "error", "b: TensorFlow 2.20.0, where a has 2.21.0; run make env"),
        (cluster(b=other(horovod="0.27.0")), "error", "b: Horovod 0.27.0, where a has 0.28.1+tf2.21.0"),
        (cluster(b=other(ray="2.59.0")), "error", "b: Ray 2.59.0, where a has 2.60.0"),
        (cluster(b=other(regionstack="0.2.0")), "error", "b: regionstack 0.2.0, where a has 0.1.0"),
        (cluster(b=other(python="3.12.1")), "error", "b: Python 3.12.1, where a has 3.11.7"),
        (cluster(b=other(python="3.11.9")), "warning", "b: Python 3.11.9, where a has 3.11.7"),
        (cluster(b=without("horovod")), "error", "b: Horovod is not installed; run make env there"),
        (cluster(b={"source": "3f2a"}), "error", "b: other files of the project (3f2a) than on a (9b1c); bring"),
        (cluster(a=other(tensorflow="2.20.0")), "warning", "a: TensorFlow 2.20.0, where the project is tested with"),
        (cluster(a=other(tensorflow="2.20.0")), "error", "a: Horovod was built for TensorFlow 2.21.0, and TensorFlow"),
        # Horovod
        (cluster(b={"load_error": "ImportError: libnccl"}), "error", "b: Horovod cannot be loaded (ImportError: libn"),
        (cluster(b={"built": ("nccl",)}), "error", "b: Horovod was built without Gloo"),
        (cluster(b={"built": ("gloo",)}), "error", "b: 2 GPUs and a Horovod without NCCL, which averages on the CPU"),
        # GPUs
        (cluster(b={"gpus": ()}), "error", "b: Ray offers 2 GPUs and NVIDIA's driver lists 0"),
        (cluster(b={"ray_gpus": 0}), "warning", "b: 2 GPUs that Ray does not offer; start Ray there with --num-gpus"),
        (cluster(b={"tensorflow_gpus": 0}), "error", "b: TensorFlow sees 0 of 2 GPUs; GPU=1 make env there"),
        (cluster(b={"gpus": ("GPU-a0", "GPU-b1")}), "error", "a, b: offer the same GPU-a0; run one Ray node a machine"),
        # names
        (cluster(b={"name_address": None}), "error", "b: its own name, b, has no address, and Horovod ends without"),
        (cluster(b={"name_address": "127.0.1.1"}), "error", "b: its own name, b, leads to 127.0.1.1, where no other"),
        (cluster(a={"peers": {"b": None}}), "warning", "a: the name b has no address there; an entry in /etc/hosts t"),
        (cluster(a={"peers": {"b": "10.9.9.9"}}), "warning", "a: the name b leads to 10.9.9.9 there; an entry in /etc"),
        (cluster(b={"reverse": None}), "note", "b: 10.0.0.2 leads back to no name"),
        # network
        (cluster(b={"interface": None, "interface_error": "no interface ib0 (there are lo)"}), "error",
         "b: no interface ib0 (there are lo); name one with cluster.interface"),
        (cluster(b={"address": "127.0.0.1"}), "error", "b: Ray knows it as 127.0.0.1, of itself alone; start Ray the"),
        (cluster(a={"unreached": ("b (10.0.0.2:6380)",)}), "error", "a: no connection to b (10.0.0.2:6380); open the"),
        # storage
        (cluster(b=folder(seen=False, error="No such file or directory")), "error",
         "b: run.folder /shared/run cannot be read (No such file or directory); mount the shared storage there"),
        (cluster(b=folder(seen=False)), "error", "b: run.folder /shared/run holds other files than on the driver's"),
        (cluster(b=folder(read_back=False)), "error", "b: run.folder /shared/run holds other files than on the dri"),
        (cluster(b=folder(SHARDS, contents="c1")), "error", "b: shards.folder /shared/shards holds other files than"),
        (cluster(b=folder(written=False, error="Read-only file system")), "error",
         "b: run.folder /shared/run cannot be written (Read-only file system); let this user write there"),
        # disk, clock, limits, authentication
        (cluster(a=folder(free=GIB)), "warning", "a: /shared/run has 1.0 GiB free, and checkpoints want 5.0 GiB"),
        (cluster(b={"temporary_free": GIB}), "warning", "b: the disk of Ray's session has 1.0 GiB free of 100.0 GiB"),
        (cluster(b={"temporary_free": 4 * GIB}), "warning", "b: the disk of Ray's session has 4.0 GiB free of 100.0"),
        (cluster(b={"clock_off_s": 9.0}), "warning", "b: its clock is 9 s ahead of the driver's; timedatectl"),
        (cluster(b={"clock_off_s": -9.0}), "warning", "b: its clock is 9 s behind the driver's"),
        (cluster(b={"open_files": 1024}), "warning", "b: a process may open 1024 files, and 4096 are wanted; ulimit"),
        (cluster(b={"authenticated": False}), "warning", "b: Ray runs without its token authentication; RAY_AUTH_MOD"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(facts: ClusterFacts, level: str, line: str) -> None:
    found = [finding for finding in judge(facts, WANTED) if finding.line().startswith(line)]
    assert [finding.level for finding in found] == [level], [finding.line() for finding in judge(facts, WANTED)]
    assert "\n" not in found[0].line()


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (cluster(b={"clock_off_s": 4.0, "clock_error_s": 5.0}), WANTED),  # not known well enough to say so
        (cluster(b=folder(SHARDS, written=False, error="Read-only file system")), WANTED),  # read by workers only
        (cluster(b={"built": ("gloo",), "gpus": (), "tensorflow_gpus": 0}), replace(WANTED, gpus=False)),
        (cluster(b={"built": None}), WANTED),  # another build than our own, and it was not loaded
        (cluster(b={"open_files": -1}), WANTED),  # no limit
        # One host: its worlds stay on the loopback interface.
        (ClusterFacts(nodes=(node("a", name_address="127.0.1.1", interface=None, peers={}),)), WANTED),
    ],
)
def test_what_is_no_fault(facts: ClusterFacts, wanted: Wanted) -> None:
    assert [finding.line() for finding in judge(facts, wanted) if finding.level != "note"] == []


def test_unwritten_shards_matter_to_the_driver_while_pages_are_to_be_converted() -> None:
    facts = cluster(a=folder(SHARDS, written=False, error="Permission denied"))
    assert not errors(judge(facts, WANTED))
    found = errors(judge(facts, replace(WANTED, shards_complete=False)))
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


def test_the_probe_tells_of_this_host_as_plain_data() -> None:
    order = {"address": "127.0.0.1", "interface": None, "peers": [["nowhere.invalid", "127.0.0.1", 1]], "folders": [],
             "mark": "m", "tag": "t", "load": False}  # fmt: skip
    found = Probe().look(order)
    assert found["interface"] == "lo"
    assert found["peers"] == {"nowhere.invalid": None}
    assert found["unreached"] == ["nowhere.invalid (127.0.0.1:1)"]
    assert found["versions"]["tensorflow"]
    assert len(found["source"]) == 8
    assert find_interface("203.0.113.9", None)[1].startswith("no interface holds 203.0.113.9")
    assert find_interface("127.0.0.1", "ib7")[1].startswith("no interface ib7 (there are ")


def test_a_folder_is_judged_by_the_drivers_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange" / "driver").write_text("mark")
    (tmp_path / "manifest.json").write_text("{}")
    order = {"path": str(tmp_path), "exchange": "exchange", "contents": ["manifest.json"]}
    found = look_at_folder(order, "mark", "host-1")
    assert (found["seen"], found["written"], found["error"]) == (True, True, None)
    assert (tmp_path / "exchange" / "host-1").read_text() == "mark"
    assert look_at_folder(order, "other", "host-1")["seen"] is False
    assert look_at_folder(order | {"contents": ["gone.json"]}, "mark", "host-1")["contents"] is None
    (tmp_path / "file").touch()
    found = look_at_folder({"path": str(tmp_path / "file"), "exchange": None, "contents": []}, "mark", "host-1")
    assert (found["seen"], found["written"], found["error"]) == (None, False, "Not a directory")


def test_whether_a_missing_host_answers_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(launch.doctor, "SSH_PORT", server.getsockname()[1])
        there = launch.doctor.absent_hosts(["127.0.0.1"], cluster())
    gone = launch.doctor.absent_hosts(["127.0.0.1"], cluster())
    assert there == {"127.0.0.1": "SSH answers there; Ray is not up, or was refused"}
    assert gone == {"127.0.0.1": "nothing answers on its SSH port: Connection refused"}


def test_gpus_from_the_drivers_files(tmp_path: Path) -> None:
    for bus, uuid in (("0000:05:00.0", "GPU-5b"), ("0000:04:00.0", "GPU-4a")):
        (tmp_path / bus).mkdir()
        text = f"Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 190\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\n"
        (tmp_path / bus / "information").write_text(text)
    assert gpus_in(tmp_path) == ["GPU-4a", "GPU-5b"]
    assert gpus_in(tmp_path / "none") == []


def test_hosts_of_a_cluster_file_that_ray_does_not_have() -> None:
    named = launcher_hosts({"provider": {"head_ip": "10.0.0.1", "worker_ips": ["b", "nowhere.invalid"]}}, "x.yaml")
    assert absent_hosts(named, cluster()) == {"nowhere.invalid": "the name has no address here"}
    with pytest.raises(UserError, match=r"x\.yaml: provider\.head_ip is not there"):
        launcher_hosts({"provider": {"type": "aws"}}, "x.yaml")
