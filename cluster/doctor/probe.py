"""Examines one host from a process on it: what is installed, visible, reachable and writable there.

Imports only the standard library and `cluster.interface`. Ray sends both modules by value, so the probe also runs on a
host where the project is missing or has another version, which it reports.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cluster.interface import interface_names, interface_of

PACKAGES = ("tensorflow", "keras", "horovod", "ray", "numpy", "regionstack")
PROJECT = ("data_tools", "trainer", "cluster", "launch")
DRIVER_FILE = "driver"
DRIVER_GPUS = Path("/proc/driver/nvidia/gpus")
CONNECT_S = 3.0
LISTING_S = 20.0
LOADING_S = 180.0
LOAD = """
import json, horovod.tensorflow as hvd, tensorflow as tf
built = [name for name in ("gloo", "nccl", "mpi") if getattr(hvd, name + "_built")()]
print(json.dumps({"built": built, "gpus": len(tf.config.list_physical_devices("GPU"))}))
"""


class Probe:
    """Examines the driver's own host (called directly) or another one (as a Ray actor)."""

    def clock(self) -> float:
        """This host's unix time."""
        return time.time()

    def look(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The report on this host, as plain data.

        Keys of `request`: `address`, of the host in Ray; `interface`, as configured, or null; `peers`, a list of
        [name, address, port]; `folders`, see `examine_folder`; `token`, the text that the driver wrote into them;
        `host_tag`, the name of the file that this host writes; `load`, whether to load Horovod and TensorFlow, which
        takes seconds.
        """
        interface, interface_error = find_interface(request["address"], request["interface"])
        name = socket.gethostname()
        own = {"token": request["token"], "host_tag": request["host_tag"]}
        loaded = load_horovod() if request["load"] else {}
        return {
            "hostname": name,
            "versions": versions(),
            "source": source_digest(),
            "loaded": loaded or None,
            "gpus": list_gpus(),
            "capabilities": list_capabilities(),
            "tensorflow_capabilities": tensorflow_capabilities(),
            "interface": interface,
            "interface_error": interface_error,
            "name_address": address_of(name),
            "reverse": name_of(request["address"]),
            "peers": {peer: address_of(peer) for peer, _, _ in request["peers"]},
            "unreached": [f"{peer} ({at}:{port})" for peer, at, port in request["peers"] if not connects(at, port)],
            "folders": [examine_folder(folder, **own) for folder in request["folders"]],
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "temporary": space(tempfile.gettempdir()),
            "authenticated": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that must be the same on all hosts, without those that are missing."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def source_digest() -> str | None:
    """A short digest of the project's Python files as this process would import them; None without any."""
    digest, seen = hashlib.sha256(), False
    for package in PROJECT:
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or ()) if found else ():
            for path in sorted(Path(folder).rglob("*.py")):
                seen = True
                digest.update(f"{package}/{path.relative_to(folder)};".encode() + path.read_bytes())
    return digest.hexdigest()[:8] if seen else None


def load_horovod() -> dict[str, Any]:
    """`built`: what Horovod is built with; `gpus`: how many TensorFlow sees; or the `error` of loading them."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    # Ray hides a host's GPUs from actors that reserve none.
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-c", LOAD]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOADING_S, env=environment, check=False)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except (IndexError, ValueError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": lines[-1].strip() if lines else f"ended with status {done.returncode}"}


def list_gpus() -> list[str]:
    """UUIDs of the GPUs that NVIDIA's driver lists here; without nvidia-smi, as in containers, from its files."""
    found = nvidia_smi("uuid", r"GPU-\S+")
    return gpus_in(DRIVER_GPUS) if found is None else found


def list_capabilities() -> list[str]:
    """Compute capabilities of this host's GPUs, `8.9`; empty where nvidia-smi is missing or too old."""
    return sorted(set(nvidia_smi("compute_cap", r"\d+\.\d+") or ()))


def nvidia_smi(field: str, form: str) -> list[str] | None:
    """What nvidia-smi prints of a field, one line for each GPU, as far as the lines match the expression `form`.

    It also prints what is wrong with a GPU, or that there is none. None where it is missing or fails.
    """
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, timeout=LISTING_S, check=True)
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
        return [line for line in lines if re.fullmatch(form, line)]
    return None


def tensorflow_capabilities() -> list[str]:
    """What TensorFlow is built for (`sm_80`, `compute_90`), read without loading it; empty where it does not say."""
    found = importlib.util.find_spec("tensorflow")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "python" / "platform" / "build_info.py"
        with contextlib.suppress(OSError, SyntaxError):
            return re.findall(r"'((?:sm|compute)_\d+[a-z]?)'", path.read_text())
    return []


def gpus_in(folder: Path) -> list[str]:
    """UUIDs from the driver's files `<folder>/<bus id>/information`."""
    found = []
    for path in sorted(folder.glob("*/information")):
        with contextlib.suppress(OSError):
            lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
            found.append(lines.get("GPU UUID", path.parent.name).strip())
    return found


def find_interface(address: str, configured: str | None) -> tuple[str | None, str | None]:
    """The interface for Gloo and NCCL (the `configured` one, or the one that holds `address`), or an error message."""
    names = interface_names()
    name = interface_of(address) if configured is None else configured if configured in names else None
    if name is not None:
        return name, None
    missing = (
        f"no interface {configured}" if configured else f"no interface holds {address}, Ray's address of this host"
    )
    return None, f"{missing} (found {', '.join(names)})"


def address_of(name: str) -> str | None:
    """The IPv4 address that `name` resolves to on this host; None without one."""
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None


def name_of(address: str) -> str | None:
    """The name that `address` resolves back to on this host; None without one."""
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        return None


def connects(address: str, port: int) -> bool:
    """Whether something accepts TCP connections at `address` and `port`."""
    try:
        socket.create_connection((address, port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def examine_folder(folder: Mapping[str, Any], *, token: str, host_tag: str) -> dict[str, Any]:
    """Whether a shared folder can be read and written here, and holds the file that the driver wrote.

    Keys of `folder`: `path`; `exchange`, a folder in it that the driver made, or null where it could not;
    `contents`, files under `path` to digest together. Returns the fields of `FolderFacts`.
    """
    path = Path(folder["path"])
    contents = contents_digest(path, folder["contents"])
    found: dict[str, Any] = {"path": str(path), "contents": contents, "seen": None, "written": False, "error": None}
    found |= space(str(path))
    try:
        if folder["exchange"] is not None:
            found["seen"] = (path / folder["exchange"] / DRIVER_FILE).read_text() == token
    except OSError as error:
        found["seen"] = False
        found["error"] = error.strerror
    try:
        write_token(path / (folder["exchange"] or ""), host_tag, token=token, keep=folder["exchange"] is not None)
        found["written"] = True
    except OSError as error:
        found["error"] = found["error"] or error.strerror
    return found


def write_token(folder: Path, name: str, *, token: str, keep: bool) -> None:
    """Write `token` to a small file, through to the disk; without `keep`, delete the file again."""
    path = folder / (name if keep else f".doctor-{token}-{name}")
    with path.open("w") as file:
        file.write(token)
        file.flush()
        os.fsync(file.fileno())
    if not keep:
        path.unlink()


def contents_digest(folder: Path, names: Sequence[str]) -> str | None:
    """One digest over the files `names` in `folder`; None without names, or where a file cannot be read."""
    digest = hashlib.sha256()
    try:
        for name in names:
            digest.update((folder / name).read_bytes())
    except OSError:
        return None
    return digest.hexdigest() if names else None


def space(path: str) -> dict[str, int]:
    """`free` and `total` bytes of the file system of `path`, or of its nearest existing parent; empty on an error."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return {}
    return {"free": usage.free, "total": usage.total}
