"""Builds the Horovod wheel that fits the locked TensorFlow, once, into a cache that all checkouts share.

    python -m cluster.setup.horovod_wheel           build for CPUs (Gloo), print the wheel's path last
    python -m cluster.setup.horovod_wheel --gpu     for GPUs (NCCL); needs a CUDA toolkit, but no GPU
    python -m cluster.setup.horovod_wheel --cached  build nothing; exit status 1 where it is not in the cache

Horovod 0.28.1 is the last release and has no wheels. One of its sources needs an XLA header that TensorFlow
no longer ships; without it (collectives inside XLA-compiled graphs, off by default) it builds and runs. Two lines
are mended on the way, see `MENDS`.
Any supported Python can ask for a cached wheel; to build one, run this in the environment that it is for.
"""

import argparse
import contextlib
import fcntl
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster.setup.horovod_target import (
    GPU_LOCK,
    HOROVOD,
    Gpu,
    Target,
    cache_folder,
    find_gpu,
    pinned,
    this_target,
    wheel_name,
)
from data_tools.errors import UserError
from data_tools.files import sha256, temporary_name

SDIST_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
DROPPED_SOURCE = "xla_mpi_ops.cc"
MENDS = (
    # The list of ranks is filled through a pointer without ever being given a size, so it stays empty, and the check
    # for ranks that do not join a collective, which walks over it, never finds one: a hang would last for ever.
    (
        "horovod/common/gloo/gloo_controller.cc",
        "global_ranks_.reserve(size_);",
        "global_ranks_.resize(size_);",
        "first",
    ),
    # The connections over which gradients go take an interface that nobody has set in their object; without this,
    # HOROVOD_GLOO_IFACE counts for the first connection only, and a host's name without an address ends the process.
    (
        "horovod/common/gloo/gloo_context.cc",
        "device_attr.iface = gloo_iface_;",
        "device_attr.iface = global_context.gloo_iface_;",
        "last",
    ),
)
"""Lines of Horovod that are replaced: file, what stands there, what should, and which occurrence."""
BYTES_PER_COMPILER = 1.5 * 2**30
"""What one compiler process may need on TensorFlow's headers."""


def build(target: Target, *, sdist: Path | None, wheel: Path) -> None:
    """Build in a fresh tree, since Horovod's CMake writes into its source, then move the wheel to `wheel`.

    Raises:
        UserError: TensorFlow is not the locked one, the source not the known one, or the result not as asked.
        subprocess.CalledProcessError: pip, CMake or a compiler failed; their output says why.
    """
    installed = importlib.metadata.version("tensorflow")
    if installed != target.tensorflow:
        raise UserError(f"TensorFlow {installed} is installed, {target.tensorflow} is locked; run make env")
    with tempfile.TemporaryDirectory(prefix="regionstack-horovod-") as name:
        work = Path(name)
        tree = unpack(sdist or fetch_sdist(work / "sdist"), work)
        drop_source(tree)
        mend(tree)
        forget_folders(tree)
        nccl_home = fetch_nccl(work / "nccl") if target.gpu else work
        environment = build_environment(os.environ, gpu=target.gpu, nccl_home=nccl_home)
        environment["HOROVOD_LOCAL_VERSION"] = wheel.name.split("-")[1].partition("+")[2]
        options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--verbose"]
        pip("wheel", *options, "--wheel-dir", work / "out", tree, environment=environment)
        accept(work / "out", wheel)


def fetch_sdist(folder: Path) -> Path:
    """Download Horovod's sdist; pip compares its hash before it looks inside."""
    download(folder, f"horovod=={HOROVOD} --hash=sha256:{SDIST_SHA256}", "--no-binary")
    return folder / f"horovod-{HOROVOD}.tar.gz"


def fetch_nccl(folder: Path) -> Path:
    """Download the locked NCCL: a folder of headers and libraries, with the link that the linker wants."""
    version, hashes = pinned(GPU_LOCK, "nvidia-nccl-cu12")
    digests = " ".join(f"--hash=sha256:{digest}" for digest in hashes)
    download(folder, f"nvidia-nccl-cu12=={version} {digests}", "--only-binary")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    home = folder / "nvidia" / "nccl"
    (home / "lib" / "libnccl.so").symlink_to("libnccl.so.2")
    return home


def download(folder: Path, requirement: str, kind: str) -> None:
    """Download what a requirement with hashes names; `kind` is pip's --no-binary or --only-binary."""
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(requirement + "\n")
    options = ["--no-deps", "--no-build-isolation", "--require-hashes", kind, ":all:"]
    pip("download", *options, "--dest", folder, "--requirement", requirements)


def pip(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run this environment's pip."""
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], check=True, env=environment)


def unpack(sdist: Path, work: Path) -> Path:
    """Unpack Horovod's release below `work`; returns its tree.

    Raises:
        UserError: `sdist` is not the release that this script knows, byte for byte.
    """
    found = sha256(sdist)
    if found != SDIST_SHA256:
        raise UserError(f"{sdist}: SHA-256 is {found}, but horovod {HOROVOD} has {SDIST_SHA256}; not built")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "source", filter="data")
    return work / "source" / f"horovod-{HOROVOD}"


def drop_source(tree: Path) -> None:
    """Take the one source that does not build out of Horovod's CMake lists.

    Raises:
        UserError: the lists do not name it exactly once, so this is not the release that the script knows.
    """
    lists = tree / "horovod" / "tensorflow" / "CMakeLists.txt"
    lines = lists.read_text().splitlines(keepends=True)
    kept = [line for line in lines if DROPPED_SOURCE not in line]
    if len(lines) - len(kept) != 1:
        raise UserError(f"{lists}: names {DROPPED_SOURCE} {len(lines) - len(kept)} times, expected once")
    lists.write_text("".join(kept))


def mend(tree: Path) -> None:
    """Mend what Horovod's last release has wrong; see `MENDS`.

    Raises:
        UserError: a line to be mended does not stand in its file exactly as often as known.
    """
    for name, wrong, right, place in MENDS:
        file = tree / name
        text = file.read_text()
        before, found, after = text.rpartition(wrong) if place == "last" else text.partition(wrong)
        if not found:
            raise UserError(f"{file}: the line to be mended is not there ({wrong}); not built")
        file.write_text(f"{before}{right}{after}")


def forget_folders(tree: Path) -> None:
    """Keep the temporary folders that the build links against out of the library's search path."""
    lists = tree / "CMakeLists.txt"
    lists.write_text("set(CMAKE_SKIP_RPATH TRUE CACHE BOOL unused)\n" + lists.read_text())


def build_environment(caller: Mapping[str, str], *, gpu: Gpu | None, nccl_home: Path) -> dict[str, str]:
    """The variables of the build: the caller's, but no Horovod or make setting among them, and ours."""
    ours = ("HOROVOD_", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    kept = {name: value for name, value in caller.items() if not name.startswith(ours)}
    scripts = sysconfig.get_path("scripts")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    settings = {
        "PATH": f"{scripts}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "MAKEFLAGS": f"-j{compilers_at_once(len(os.sched_getaffinity(0)), memory)}",
        "CUDA_VISIBLE_DEVICES": "",
        "HOROVOD_CMAKE": f"{scripts}/cmake",
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "HOROVOD_WITH_GLOO": "1",
        "HOROVOD_WITHOUT_MPI": "1",
    }
    if gpu:
        settings |= {
            # The library is found where pip puts NCCL, in whatever environment the wheel is installed.
            "LDFLAGS": f"{kept.get('LDFLAGS', '')} -Wl,-rpath,'$ORIGIN/../../nvidia/nccl/lib'".strip(),
            "HOROVOD_GPU_OPERATIONS": "NCCL",
            "HOROVOD_CUDA_HOME": str(gpu.cuda_home),
            "HOROVOD_NCCL_HOME": str(nccl_home),
            "HOROVOD_NCCL_LINK": "SHARED",
            "HOROVOD_BUILD_CUDA_CC_LIST": ",".join(gpu.capabilities),
        }
    return kept | settings


def compilers_at_once(cores: int, memory: int) -> int:
    """How many compiler processes `cores` can drive and `memory` bytes can hold."""
    return max(1, min(cores, int(memory / BYTES_PER_COMPILER)))


def accept(out: Path, wheel: Path) -> None:
    """Move the one wheel in `out` into the cache, whole or not at all.

    Raises:
        UserError: it has another name than `wheel`, or lacks TensorFlow's operations.
    """
    (built,) = out.glob("*.whl")
    if built.name != wheel.name:
        raise UserError(f"the build made {built.name}, expected {wheel.name}")
    with zipfile.ZipFile(built) as archive:
        if not any(re.match(r"horovod/tensorflow/mpi_lib\..*so$", name) for name in archive.namelist()):
            raise UserError(f"{built.name} was built without TensorFlow's operations")
    temporary = temporary_name(wheel)
    shutil.copyfile(built, temporary)
    temporary.replace(wheel)


@contextlib.contextmanager
def one_at_a_time(wheel: Path) -> Iterator[None]:
    """Hold the wheel's lock, so that a second build of the same wheel waits and then finds it."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with wheel.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached_or_built(options: argparse.Namespace) -> int:
    """Do what the command line asks; returns the exit status."""
    gpu = find_gpu(options.cuda_home, options.capabilities) if options.gpu else None
    target = this_target(gpu)
    wheel = cache_folder(os.environ) / wheel_name(target)
    if not options.cached and not zipfile.is_zipfile(wheel):
        with one_at_a_time(wheel):
            if not zipfile.is_zipfile(wheel):
                build(target, sdist=options.sdist, wheel=wheel)
    print(wheel)
    return 0 if zipfile.is_zipfile(wheel) else 1


def read_options() -> argparse.Namespace:
    """The command line; the CUDA settings also come from the variables that Horovod's own build knows."""
    variables = os.environ
    cuda_home = variables.get("HOROVOD_CUDA_HOME") or variables.get("CUDA_HOME") or "/usr/local/cuda"
    capabilities = variables.get("HOROVOD_BUILD_CUDA_CC_LIST") or "80,90"
    parser = argparse.ArgumentParser(
        prog="horovod_wheel", description=f"Build Horovod {HOROVOD} for the locked TensorFlow."
    )
    add = parser.add_argument
    add("--gpu", action="store_true", help="for GPUs, with NCCL")
    add("--cuda-home", type=Path, default=cuda_home, help="the CUDA toolkit's folder (default: %(default)s)")
    add("--capabilities", default=capabilities, help="compute capabilities (default: %(default)s)")
    add("--sdist", type=Path, help=f"a horovod-{HOROVOD}.tar.gz already here, in place of a download")
    add("--cached", action="store_true", help="build nothing; status 1 where the wheel is not in the cache")
    return parser.parse_args()


def main() -> int:
    """Entry point; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the temporary tree goes
    try:
        return cached_or_built(read_options())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        # What failed has printed its own reason above.
        print(f"ended with status {error.returncode}: {' '.join(map(str, error.cmd[:4]))}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
