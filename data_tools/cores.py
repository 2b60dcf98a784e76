"""The cores that this process may use: its affinity, and the CPU quotas of its control groups."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

Read = Callable[[str], str | None]
"""The text of a file of the kernel; None if there is none."""

_GROUPS = "/proc/self/cgroup"
_MOUNTS = "/proc/self/mountinfo"
_DEFAULT_MOUNTS = {"": "/sys/fs/cgroup", "cpu": "/sys/fs/cgroup/cpu"}
"""Where control groups are mounted if the kernel does not list mounts, by controller; "": version 2."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


def available_cores() -> int:
    """Cores that this process may use: its affinity (which follows cpusets), and its CPU quota rounded up."""
    return cores_within(len(os.sched_getaffinity(0)), cpu_quota(_read))


def cores_within(cores: int, quota: float | None) -> int:
    """The smaller of the cores and a quota in cores (None: no limit); 1 at least."""
    return cores if quota is None else max(1, min(cores, -int(-quota // 1)))


def cpu_quota(read: Read) -> float | None:
    """The smallest quota, in cores, of this process' control groups and those above them; None: no limit.

    Both versions of control groups and both at once; see cgroups(7), and `cpu.max` and `cpu.cfs_quota_us` in the
    kernel's documentation. read: the files of the kernel.
    """
    mounts = dict(_mounts(read(_MOUNTS) or "")) or {name: (place, "/") for name, place in _DEFAULT_MOUNTS.items()}
    quotas = []
    for line in (read(_GROUPS) or "0::/").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        name = "cpu" if "cpu" in controllers.split(",") else controllers
        if name in mounts:
            quota = _quota_2 if name == "" else _quota_1
            quotas += [quota(folder, read) for folder in _folders(*mounts[name], group=group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _mounts(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Mount point and root, by controller, of the hierarchies that can hold a quota. Format: proc(5), mountinfo."""
    for line in text.splitlines():
        about, _, system = line.partition(" - ")
        fields, kinds = about.split(), system.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        place = _unescaped(fields[4]), _unescaped(fields[3])
        if kinds[0] == "cgroup2":
            yield "", place
        elif kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            yield "cpu", place


def _folders(mount: str, root: str, *, group: str) -> Iterator[str]:
    """Folders of a group and of the groups above it, as far as they are mounted here.

    A container sees its own group as the root of the mount, under a path of the host or as `/`; a group outside the
    mount (`/../other`) is not visible, and the mount's root is the nearest one that is.
    """
    below = PurePosixPath(group)
    if below.is_relative_to(root):
        below = below.relative_to(root)
    elif ".." in below.parts or root != "/":
        below = PurePosixPath()
    below = PurePosixPath(str(below).lstrip("/"))
    for folder in (below, *below.parents) if below.parts else (below,):
        yield str(PurePosixPath(mount) / folder)


def _quota_2(folder: str, read: Read) -> float | None:
    quota, _, period = (read(f"{folder}/cpu.max") or "").partition(" ")
    return _share(quota, period)


def _quota_1(folder: str, read: Read) -> float | None:
    return _share(read(f"{folder}/cpu.cfs_quota_us") or "", read(f"{folder}/cpu.cfs_period_us") or "")


def _share(quota: str, period: str) -> float | None:
    """Microseconds of a quota over those of a period; None for `max`, -1 and what is not a number."""
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
