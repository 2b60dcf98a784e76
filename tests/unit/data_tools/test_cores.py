"""The cores of a process follow the quotas of its control groups, in both versions and when they are nested."""

import os
from collections.abc import Mapping

import pytest

from data_tools.cores import available_cores, cores_within, cpu_quota

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "25 23 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "31 25 0:27 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 25 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)
HYBRID = V1.format(root="/") + "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
ONE, TWO = "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"


def quota_1(folder: str, quota: str, period: str = "100000") -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota"),
    [
        # Version 2: at the mount, as a container with a namespace of its own sees it.
        ("0::/\n", V2, {f"{TWO}/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", V2, {f"{TWO}/cpu.max": "max 100000\n"}, None),
        ("0::/\n", V2, {}, None),
        # A group of its own, as systemd or Slurm makes it; the mount's root has no cpu.max.
        ("0::/system.slice/job.scope\n", V2, {f"{TWO}/system.slice/job.scope/cpu.max": "400000 100000"}, 4.0),
        # The smallest of nested groups, wherever it is.
        (
            "0::/a/b/c\n",
            V2,
            {f"{TWO}/a/cpu.max": "300000 100000", f"{TWO}/a/b/cpu.max": "max 100000", f"{TWO}/a/b/c/cpu.max": "8 1"},
            3.0,
        ),
        ("0::/a/b\n", V2, {f"{TWO}/a/cpu.max": "800000 100000", f"{TWO}/a/b/cpu.max": "50000 100000"}, 0.5),
        # Without a namespace: the host's path of the group, which is the root of the mount.
        (
            "0::/docker/1f2e\n",
            "30 23 0:26 /docker/1f2e /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            {f"{TWO}/cpu.max": "200000 100000"},
            2.0,
        ),
        # A group outside the mount.
        ("0::/../other\n", V2, {f"{TWO}/cpu.max": "200000 100000"}, 2.0),
        (
            "0::/other\n",
            "30 23 0:26 /docker/1f2e /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            {f"{TWO}/cpu.max": "200000 100000"},
            2.0,
        ),
        # A mount point with a space.
        ("0::/\n", V2.replace("/sys/fs/cgroup", "/my\\040groups"), {"/my groups/cpu.max": "100000 100000"}, 1.0),
        # Version 1.
        ("4:cpu,cpuacct:/\n3:cpuset:/x\n", V1.format(root="/"), quota_1(ONE, "250000"), 2.5),
        ("4:cpu,cpuacct:/\n", V1.format(root="/"), quota_1(ONE, "-1"), None),
        ("4:cpuacct,cpu:/job\n", V1.format(root="/"), quota_1(f"{ONE}/job", "50000", "25000"), 2.0),
        (
            "4:cpu,cpuacct:/kube/pod/it\n",
            V1.format(root="/"),
            quota_1(f"{ONE}/kube/pod", "200000") | quota_1(f"{ONE}/kube/pod/it", "-1"),
            2.0,
        ),
        ("4:cpu,cpuacct:/docker/9a\n", V1.format(root="/docker/9a"), quota_1(ONE, "300000"), 3.0),
        # A controller whose name contains "cpu" is no other's.
        ("3:cpuset:/\n2:cpuacct:/\n", V1.format(root="/"), quota_1(ONE, "100000"), None),
        # Both versions at once: the quota is in the old one.
        ("4:cpu,cpuacct:/job\n0::/job\n", HYBRID, quota_1(f"{ONE}/job", "100000"), 1.0),
        # Without a list of mounts, the usual places.
        (None, None, {f"{TWO}/cpu.max": "100000 100000"}, 1.0),
        ("1:cpu:/\n", None, quota_1("/sys/fs/cgroup/cpu", "100000"), 1.0),
        # What is not to be understood limits nothing.
        ("0::/\n", V2, {f"{TWO}/cpu.max": "many"}, None),
        ("0::/\n", V2, {f"{TWO}/cpu.max": "0 0"}, None),
        ("nothing", "nothing - at all", {}, None),
    ],
)
def test_the_quota(groups: str | None, mounts: str | None, files: Mapping[str, str], quota: float | None) -> None:
    proc = {"/proc/self/cgroup": groups, "/proc/self/mountinfo": mounts}
    assert cpu_quota({**{name: text for name, text in proc.items() if text is not None}, **files}.get) == quota


@pytest.mark.parametrize(
    ("cores", "quota", "expected"), [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.1, 1), (2, 64.0, 2), (1, 0.5, 1)]
)
def test_a_quota_is_rounded_up(cores: int, quota: float | None, expected: int) -> None:
    assert cores_within(cores, quota) == expected


def test_the_affinity_of_this_process_counts() -> None:
    before = os.sched_getaffinity(0)
    assert 1 <= available_cores() <= len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
