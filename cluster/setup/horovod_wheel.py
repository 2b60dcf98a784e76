"""Builds the Horovod wheel that fits the locked TensorFlow, once, into a cache that all checkouts share.

    python -m cluster.setup.horovod_wheel           build for CPUs (Gloo), print the wheel's path last
    python -m cluster.setup.horovod_wheel --gpu     for GPUs (NCCL); needs a CUDA toolkit, but no GPU
    python -m cluster.setup.horovod_wheel --install also install it, with what it needs, in this environment
    python -m cluster.setup.horovod_wheel --cached  build nothing; exit status 1 if it is not in the cache

Horovod 0.28.1 is the last release and has no wheels. One of its sources needs an XLA header that TensorFlow
no longer ships; without it (collectives inside XLA-compiled graphs, off by default) it builds and runs. The build
also fixes a few lines: `cluster/setup/horovod_source.py`.
Any supported Python can look up a cached wheel; to build one, run this in the environment that it is for.
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
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster.setup.horovod_source import SDIST_SHA256, prepare
from cluster.setup.horovod_target import (
    CAPABILITIES,
    GPU_LOCK,
    HOROVOD,
    Gpu,
    Target,
    cache_folder,
    find_gpu,
    find_toolkit,
    pinned,
    this_target,
    wheel_name,
)
from data_tools.errors import UserError
from data_tools.files import temporary_name

BYTES_PER_COMPILER = 1.5 * 2**30
"""Peak memory of one compiler process on TensorFlow's headers, bytes."""


def build(target: Target, *, sdist: Path | None, wheel: Path) -> None:
    """Build in a fresh tree, because Horovod's CMake writes into its source, then move the wheel to `wheel`.

    Raises:
        UserError: TensorFlow is not the locked version, the source is not the known release, or the result is not
            the expected wheel.
        subprocess.CalledProcessError: pip, CMake or a compiler failed; their output says why.
    """
    check_tensorflow(target)
    with tempfile.TemporaryDirectory(prefix="regionstack-horovod-") as name:
        work = Path(name)
        tree = prepare(sdist or fetch_sdist(work / "sdist"), work)
        nccl_home = fetch_nccl(work / "nccl") if target.gpu else work
        environment = build_environment(os.environ, gpu=target.gpu, nccl_home=nccl_home)
        environment["HOROVOD_LOCAL_VERSION"] = wheel.name.split("-")[1].partition("+")[2]
        options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--verbose"]
        pip("wheel", *options, "--wheel-dir", work / "out", tree, environment=environment)
        accept(work / "out", wheel)


def check_tensorflow(target: Target) -> None:
    """Check that the TensorFlow of this environment is the one that the wheel is for.

    Raises:
        UserError: TensorFlow is not installed, or not at the locked version.
    """
    try:
        installed = importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"TensorFlow is not installed; pip install tensorflow=={target.tensorflow}") from None
    if installed != target.tensorflow:
        locked = f"tensorflow=={target.tensorflow}"
        raise UserError(f"TensorFlow {installed} is installed, and Horovod is built for {locked}; pip install {locked}")


def fetch_sdist(folder: Path) -> Path:
    """Download Horovod's sdist; pip checks its hash before it unpacks it."""
    download(folder, f"horovod=={HOROVOD} --hash=sha256:{SDIST_SHA256}", "--no-binary")
    return folder / f"horovod-{HOROVOD}.tar.gz"


def fetch_nccl(folder: Path) -> Path:
    """Download the locked NCCL: a folder of headers and libraries, with the symbolic link that the linker needs."""
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
    """Download one requirement with hashes into `folder`; `kind` is pip's `--no-binary` or `--only-binary`."""
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(requirement + "\n")
    options = ["--no-deps", "--no-build-isolation", "--require-hashes", kind, ":all:"]
    pip("download", *options, "--dest", folder, "--requirement", requirements)


def pip(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run this environment's pip."""
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], check=True, env=environment)


def build_environment(caller: Mapping[str, str], *, gpu: Gpu | None, nccl_home: Path) -> dict[str, str]:
    """The variables of the build: the caller's without any Horovod or make setting, and ours."""
    ours = ("HOROVOD_", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CUDACXX", "CUDA_PATH", "CUDAToolkit_ROOT")
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
            # Horovod's build takes the first nvcc on the PATH, whatever HOROVOD_CUDA_HOME says.
            "PATH": f"{scripts}{os.pathsep}{gpu.cuda_home / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}",
            "CUDA_HOME": str(gpu.cuda_home),
            # Finds the library where pip installs NCCL, in any environment.
            "LDFLAGS": f"{kept.get('LDFLAGS', '')} -Wl,-rpath,'$ORIGIN/../../nvidia/nccl/lib'".strip(),
            "HOROVOD_GPU_OPERATIONS": "NCCL",
            "HOROVOD_CUDA_HOME": str(gpu.cuda_home),
            "HOROVOD_NCCL_HOME": str(nccl_home),
            "HOROVOD_NCCL_LINK": "SHARED",
            "HOROVOD_BUILD_CUDA_CC_LIST": ",".join(gpu.capabilities),
        }
    return kept | settings


def compilers_at_once(cores: int, memory: int) -> int:
    """How many compiler processes `cores` and `memory` bytes allow at a time; at least one."""
    return max(1, min(cores, int(memory / BYTES_PER_COMPILER)))


def accept(out: Path, wheel: Path) -> None:
    """Move the one wheel in `out` into the cache, atomically.

    Raises:
        UserError: its name is not that of `wheel`, or it lacks TensorFlow's operations.
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
    """Hold the wheel's lock: a second build of the same wheel waits, and then finds the wheel."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with wheel.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached_or_built(options: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        UserError: see `build`.
        subprocess.CalledProcessError: see `build`.
    """
    gpu = None
    if options.gpu:
        gpu = find_gpu(options.cuda_home or find_toolkit(os.environ), options.capabilities)
    target = this_target(gpu)
    wheel = cache_folder(os.environ) / wheel_name(target)
    if options.install:
        check_tensorflow(target)
        pip("install", *tools_and_dependencies())
    if not options.cached and not zipfile.is_zipfile(wheel):
        with one_at_a_time(wheel):
            if not zipfile.is_zipfile(wheel):
                build(target, sdist=options.sdist, wheel=wheel)
    if options.install:
        pip("install", "--no-deps", wheel)
    print(wheel)
    return 0 if zipfile.is_zipfile(wheel) else 1


def tools_and_dependencies() -> list[str]:
    """The requirements of the extra `horovod`: what builds Horovod, and what its wheel depends on.

    Raises:
        UserError: regionstack is not installed in this environment.
    """
    try:
        declared = importlib.metadata.requires("regionstack") or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError("regionstack is not installed in this environment; pip install . in a checkout first") from None
    split = [line.partition(";") for line in declared]
    return [name.strip() for name, _, marker in split if re.search(r"extra == ['\"]horovod['\"]", marker)]


def read_options() -> argparse.Namespace:
    """The command line; the CUDA settings default to the variables that Horovod's own build reads."""
    variables = os.environ
    capabilities = variables.get("HOROVOD_BUILD_CUDA_CC_LIST") or CAPABILITIES
    parser = argparse.ArgumentParser(
        prog="horovod_wheel", description=f"Build Horovod {HOROVOD} for the locked TensorFlow."
    )
    add = parser.add_argument
    add("--gpu", action="store_true", help="for GPUs, with NCCL")
    add(
        "--cuda-home",
        type=Path,
        help="folder of the CUDA toolkit (default: the one that fits TensorFlow)",
    )
    add("--capabilities", default=capabilities, help="compute capabilities (default: %(default)s)")
    add("--sdist", type=Path, help=f"a local horovod-{HOROVOD}.tar.gz, in place of a download")
    effect = parser.add_mutually_exclusive_group().add_argument
    effect("--install", action="store_true", help="also install the wheel and what it needs in this environment")
    effect("--cached", action="store_true", help="build nothing; status 1 if the wheel is not in the cache")
    return parser.parse_args()


def main() -> int:
    """Entry point; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: removes the temporary tree
    try:
        return cached_or_built(read_options())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        # The failed program has printed the reason above.
        print(f"ended with status {error.returncode}: {' '.join(map(str, error.cmd[:4]))}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
