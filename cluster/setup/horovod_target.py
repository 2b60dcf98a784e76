"""What a Horovod wheel is built for, the file name that follows from it, and the cache of built wheels."""

import contextlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_tools.errors import UserError

HOROVOD = "0.28.1"
RECIPE = 3
"""Part of the wheel's version; raise it with each change of the build."""

LOCK = Path(__file__).with_name("requirements.lock")
GPU_LOCK = Path(__file__).with_name("requirements-gpu.lock")

CAPABILITIES = "60,70,80,90"
"""Compute capabilities to build for where none are named: those of the locked TensorFlow, so that every card that it
serves, from P100 to H100, can also average gradients. Newer cards compile the PTX of the greatest one."""
PLACES = Path("/usr/local")
"""Where NVIDIA's packages put their toolkits: cuda-12.9 and so on, and `cuda`, a link to one of them."""


@dataclass(frozen=True)
class Gpu:
    """What a GPU wheel is built with. capabilities: as `nvcc` writes them, 90 for 9.0."""

    cuda_home: Path
    cuda: str
    nccl: str
    capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """What a wheel is built for: TensorFlow, Python, platform and, for a GPU wheel, CUDA and NCCL."""

    tensorflow: str
    python_tag: str
    platform_tag: str
    gpu: Gpu | None = None


def this_target(gpu: Gpu | None) -> Target:
    """The target for the running interpreter and the locked TensorFlow."""
    return Target(
        tensorflow=pinned(LOCK, "tensorflow")[0],
        python_tag=f"cp{sys.version_info.major}{sys.version_info.minor}",
        platform_tag=re.sub(r"[-.]", "_", sysconfig.get_platform()),
        gpu=gpu,
    )


def find_gpu(cuda_home: Path, capabilities: str) -> Gpu:
    """The GPU part of a target, with the CUDA release that the toolkit's compiler reports.

    Raises:
        UserError: `cuda_home` has no usable nvcc, its CUDA is not of TensorFlow's major release, or `capabilities` is
            not a list such as `80,90`.
    """
    if not re.fullmatch(r"\d+(,\d+)*", capabilities):
        raise UserError(f"compute capabilities {capabilities!r}: write them as 80,90")
    cuda, wanted = release_of(cuda_home), locked_cuda()
    if _major(cuda) != _major(wanted):
        raise UserError(
            f"{cuda_home}: CUDA {cuda}, but TensorFlow {pinned(LOCK, 'tensorflow')[0]} is built for CUDA "
            f"{_major(wanted)}; install a toolkit of CUDA {_major(wanted)} (best {wanted}) and name it in CUDA_HOME"
        )
    nccl, _ = pinned(GPU_LOCK, "nvidia-nccl-cu12")
    return Gpu(cuda_home, cuda, nccl, tuple(capabilities.split(",")))


def release_of(cuda_home: Path) -> str:
    """The release of the CUDA toolkit in `cuda_home`, such as 12.9.

    Raises:
        UserError: it has no usable nvcc.
    """
    nvcc = cuda_home / "bin" / "nvcc"
    if not nvcc.exists():
        raise UserError(f"{nvcc}: not found; set CUDA_HOME to the folder of the CUDA toolkit")
    output = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\d+\.\d+)", output)
    if not release:
        raise UserError(f"{nvcc} --version reports no release; is this a CUDA toolkit?")
    return release[1]


def locked_cuda() -> str:
    """The release of the CUDA libraries that are locked for TensorFlow, such as 12.9."""
    return ".".join(pinned(GPU_LOCK, "nvidia-cuda-runtime-cu12")[0].split(".")[:2])


def find_toolkit(environment: Mapping[str, str], *, places: Path = PLACES) -> Path:
    """The folder of the CUDA toolkit to build with.

    HOROVOD_CUDA_HOME is taken as it is. Otherwise the first toolkit of TensorFlow's major release among CUDA_HOME, the
    locked release in `places`, the newest other one there (`cuda-12.*`), and `cuda`. Where none fits, the first that
    exists, which `find_gpu` refuses with the reason.
    """
    if strict := environment.get("HOROVOD_CUDA_HOME"):
        return Path(strict)
    wanted = locked_cuda()
    numbered = sorted(places.glob(f"cuda-{_major(wanted)}.*"), key=_numbers, reverse=True)
    own = [Path(environment["CUDA_HOME"])] if environment.get("CUDA_HOME") else []
    candidates = [*own, places / f"cuda-{wanted}", *numbered, places / "cuda"]
    for candidate in candidates:
        with contextlib.suppress(UserError):
            if _major(release_of(candidate)) == _major(wanted):
                return candidate
    return next((candidate for candidate in candidates if (candidate / "bin" / "nvcc").exists()), candidates[-1])


def _major(release: str) -> str:
    return release.partition(".")[0]


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def wheel_name(target: Target) -> str:
    """File name of the wheel for `target`; its local version names everything that the build depends on."""
    kind = ["cpu"]
    if gpu := target.gpu:
        kind = [f"cuda{gpu.cuda}", f"nccl{gpu.nccl}", *(f"sm{number}" for number in gpu.capabilities)]
    version = ".".join([f"{HOROVOD}+tf{target.tensorflow}", *kind, f"r{RECIPE}"])
    return f"horovod-{version}-{target.python_tag}-{target.python_tag}-{target.platform_tag}.whl"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The folder of built wheels, in REGIONSTACK_CACHE if set, otherwise in XDG_CACHE_HOME or ~/.cache."""
    if own := environment.get("REGIONSTACK_CACHE"):
        return Path(own).absolute() / "wheels"
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regionstack" / "wheels"


def pinned(lock: Path, package: str) -> tuple[str, list[str]]:
    """Version and SHA-256 hashes of `package` in a lock file.

    Raises:
        UserError: the lock file does not pin the package.
    """
    entry = re.search(rf"^{re.escape(package)}==(\S+)((?:[^\n]*\\\n)*[^\n]*)", lock.read_text(), re.MULTILINE)
    if not entry:
        raise UserError(f"{lock}: {package} is not pinned in it")
    return entry[1], re.findall(r"--hash=sha256:([0-9a-f]{64})", entry[2])
