import zipfile
from pathlib import Path

import pytest

from cluster.setup.horovod_source import DROPPED_SOURCE, apply_fixes, drop_source, unpack
from cluster.setup.horovod_target import (
    CAPABILITIES,
    Gpu,
    Target,
    cache_folder,
    find_gpu,
    find_toolkit,
    locked_cuda,
    pinned,
    wheel_name,
)
from cluster.setup.horovod_wheel import accept, build_environment, compilers_at_once, tools_and_dependencies
from data_tools.errors import UserError

GPU = Gpu(cuda_home=Path("/cuda"), cuda="13.0", nccl="2.32.3", capabilities=("80", "90"))
CPU_TARGET = Target("2.21.0", "cp311", "linux_x86_64")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (CPU_TARGET, "horovod-0.28.1+tf2.21.0.cpu.r3-cp311-cp311-linux_x86_64.whl"),
        (
            Target("2.21.0", "cp313", "linux_aarch64"),
            "horovod-0.28.1+tf2.21.0.cpu.r3-cp313-cp313-linux_aarch64.whl",
        ),
        (
            Target("2.22.0", "cp312", "linux_x86_64", GPU),
            "horovod-0.28.1+tf2.22.0.cuda13.0.nccl2.32.3.sm80.sm90.r3-cp312-cp312-linux_x86_64.whl",
        ),
    ],
)
def test_the_wheels_name_holds_all_that_the_build_depends_on(target: Target, name: str) -> None:
    assert wheel_name(target) == name


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"REGIONSTACK_CACHE": "/shared", "XDG_CACHE_HOME": "/xdg"}, Path("/shared/wheels")),
        ({"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/regionstack/wheels")),
        ({}, Path.home() / ".cache/regionstack/wheels"),
        ({"REGIONSTACK_CACHE": ""}, Path.home() / ".cache/regionstack/wheels"),
    ],
)
def test_cache_folder(environment: dict[str, str], folder: Path) -> None:
    assert cache_folder(environment) == folder


@pytest.mark.parametrize(
    ("cores", "gib", "compilers"),
    [
        (1, 64, 1),
        (2, 24, 2),
        (64, 8, 5),  # memory is what runs out first
        (8, 1, 1),  # too little for one by the estimate: still try
    ],
)
def test_compilers_at_once(cores: int, gib: int, compilers: int) -> None:
    assert compilers_at_once(cores, gib * 2**30) == compilers


def test_pinned_reads_version_and_all_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    first, second, other = "a" * 64, "b" * 64, "c" * 64
    lock.write_text(
        f"keras-hub==1.0 \\\n    --hash=sha256:{other}\n"
        f"keras==3.15.1 \\\n    --hash=sha256:{first} \\\n    --hash=sha256:{second}\n"
        f"numpy==2.4.6 \\\n    --hash=sha256:{other}\n"
    )
    assert pinned(lock, "keras") == ("3.15.1", [first, second])
    with pytest.raises(UserError, match="torch is not pinned"):
        pinned(lock, "torch")


def test_a_source_that_is_not_the_known_release_is_rejected(tmp_path: Path) -> None:
    sdist = tmp_path / "horovod-0.28.1.tar.gz"
    sdist.write_bytes(b"not the release")
    with pytest.raises(UserError, match=r"horovod-0\.28\.1\.tar\.gz: SHA-256 is .* not built"):
        unpack(sdist, tmp_path)
    assert not (tmp_path / "source").exists()


def test_the_source_that_does_not_build_is_dropped(tmp_path: Path) -> None:
    lists = tmp_path / "horovod" / "tensorflow" / "CMakeLists.txt"
    lists.parent.mkdir(parents=True)
    lists.write_text(f"append(mpi_ops.cc)\nappend({DROPPED_SOURCE})\nadd_library()\n")
    drop_source(tmp_path)
    assert lists.read_text() == "append(mpi_ops.cc)\nadd_library()\n"
    with pytest.raises(UserError, match="0 times, expected once"):
        drop_source(tmp_path)


def test_exactly_the_known_lines_are_fixed_or_nothing_is_built(tmp_path: Path) -> None:
    folder = tmp_path / "horovod" / "common" / "gloo"
    folder.mkdir(parents=True)
    (folder / "gloo_controller.cc").write_text("a\nglobal_ranks_.reserve(size_);\nb\n")
    line = "device_attr.iface = gloo_iface_;\n"
    (folder / "gloo_context.cc").write_text(f"one {line}two {line}three {line}")
    muted = "            sys.stdout = open(os.devnull, 'w')\n            sys.stderr = open(os.devnull, 'w')\n"
    (tmp_path / "horovod" / "common" / "util.py").write_text(muted)
    apply_fixes(tmp_path)
    assert (folder / "gloo_controller.cc").read_text() == "a\nglobal_ranks_.resize(size_);\nb\n"
    fixed = "device_attr.iface = global_context.gloo_iface_;\n"
    assert (folder / "gloo_context.cc").read_text() == f"one {line}two {line}three {fixed}"
    assert "os.dup2(sys.stderr.fileno(), 2)\n" in (tmp_path / "horovod" / "common" / "util.py").read_text()
    with pytest.raises(UserError, match=r"gloo_controller\.cc: .*not built"):
        apply_fixes(tmp_path)


def test_the_callers_own_settings_stay_out_of_the_build(tmp_path: Path) -> None:
    caller = {
        "HOME": "/home/user",
        "PATH": "/bin",
        "HOROVOD_GPU_OPERATIONS": "NCCL",
        "MAKEFLAGS": "w -- PYTHON=python3.12",
    }
    environment = build_environment(caller, gpu=None, nccl_home=tmp_path)
    assert environment["HOME"] == "/home/user"
    assert environment["PATH"].endswith(":/bin")
    assert environment["MAKEFLAGS"].startswith("-j")
    assert "HOROVOD_GPU_OPERATIONS" not in environment


def test_a_gpu_build_gets_the_folders_of_cuda_and_nccl(tmp_path: Path) -> None:
    environment = build_environment({}, gpu=GPU, nccl_home=tmp_path)
    assert environment["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert environment["HOROVOD_CUDA_HOME"] == "/cuda"
    assert environment["HOROVOD_NCCL_HOME"] == str(tmp_path)
    assert environment["HOROVOD_BUILD_CUDA_CC_LIST"] == "80,90"


@pytest.mark.parametrize("capabilities", ["", "8.0", "80, 90", "80;90"])
def test_capabilities_are_whole_numbers_with_commas(capabilities: str) -> None:
    with pytest.raises(UserError, match="write them as 80,90"):
        find_gpu(Path("/cuda"), capabilities)


def test_a_missing_toolkit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}/bin/nvcc: .*CUDA_HOME"):
        find_gpu(tmp_path, "80")


def toolkit(folder: Path, release: str) -> Path:
    """A CUDA toolkit that is nothing but its compiler's answer."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "nvcc").write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
    (folder / "bin" / "nvcc").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("installed", "variable", "chosen"),
    [
        ({"cuda": "12.9"}, None, "cuda"),
        ({"cuda": "13.2", "cuda-12.9": "12.9", "cuda-13.2": "13.2"}, None, "cuda-12.9"),  # Amazon's images
        ({"cuda": "13.2", "cuda-12.4": "12.4", "cuda-12.10": "12.10", "cuda-12.8": "12.8"}, None, "cuda-12.10"),
        ({"cuda": "12.4", "cuda-12.8": "12.8"}, None, "cuda-12.8"),
        ({"cuda-12.9": "12.9", "mine": "12.4"}, "mine", "mine"),  # a person's choice that fits has precedence
        ({"cuda-12.9": "12.9", "mine": "13.2"}, "mine", "cuda-12.9"),  # one that cannot work has not
        ({"cuda-12.9": "12.9"}, "gone", "cuda-12.9"),
        ({"cuda-12.9": "13.2", "cuda": "12.8"}, None, "cuda"),  # a link that was moved on
        ({"cuda": "13.2"}, None, "cuda"),  # for find_gpu to refuse
        ({}, None, "cuda"),
    ],
)
def test_the_toolkit_of_tensorflows_major_release_is_found(
    tmp_path: Path, installed: dict[str, str], variable: str | None, chosen: str
) -> None:
    for name, release in installed.items():
        toolkit(tmp_path / name, release)
    environment = {"CUDA_HOME": str(tmp_path / variable)} if variable else {}
    assert find_toolkit(environment, places=tmp_path) == tmp_path / chosen


def test_horovods_own_variable_names_the_toolkit_without_a_search(tmp_path: Path) -> None:
    toolkit(tmp_path / "cuda-12.9", "12.9")
    assert find_toolkit({"HOROVOD_CUDA_HOME": "/opt/cuda"}, places=tmp_path) == Path("/opt/cuda")


@pytest.mark.parametrize("release", ["11.8", "13.0", "13.2"])
def test_a_toolkit_of_another_major_release_than_tensorflows_is_refused(tmp_path: Path, release: str) -> None:
    with pytest.raises(UserError, match=f"CUDA {release}, but TensorFlow .* for CUDA 12; install"):
        find_gpu(toolkit(tmp_path / "cuda", release), "80")


@pytest.mark.parametrize("release", ["12.0", "12.4", "12.10"])
def test_any_toolkit_of_the_same_major_release_builds(tmp_path: Path, release: str) -> None:
    gpu = find_gpu(toolkit(tmp_path / "cuda", release), CAPABILITIES)
    assert (gpu.cuda, gpu.capabilities[0]) == (release, "60")


def test_the_locked_cuda_is_that_of_the_image_and_of_tensorflow() -> None:
    dockerfile = (Path(__file__).parents[4] / "cluster" / "Dockerfile").read_text()
    assert f"nvidia/cuda:{locked_cuda()}." in dockerfile


def test_the_chosen_toolkits_compiler_comes_first(tmp_path: Path) -> None:
    caller = {"PATH": "/usr/local/cuda-13.2/bin:/bin", "CUDACXX": "/usr/local/cuda-13.2/bin/nvcc"}
    environment = build_environment(caller, gpu=GPU, nccl_home=tmp_path)
    path = environment["PATH"].split(":")
    assert path.index("/cuda/bin") < path.index("/usr/local/cuda-13.2/bin")
    assert "CUDACXX" not in environment


def wheel_file(path: Path, member: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"")


def test_only_the_requested_wheel_reaches_the_cache(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    cache.mkdir()
    wheel = cache / wheel_name(CPU_TARGET)
    wheel_file(out / "horovod-0.28.1-cp311-cp311-linux_x86_64.whl", "horovod/tensorflow/mpi_lib.so")
    with pytest.raises(UserError, match="expected horovod-0"):
        accept(out, wheel)
    assert not list(cache.iterdir())


def test_a_wheel_without_tensorflows_operations_is_rejected(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    cache.mkdir()
    wheel = cache / wheel_name(CPU_TARGET)
    wheel_file(out / wheel.name, "horovod/tensorflow/__init__.py")
    with pytest.raises(UserError, match="without TensorFlow's operations"):
        accept(out, wheel)
    wheel_file(out / wheel.name, "horovod/tensorflow/mpi_lib.cpython-311-x86_64-linux-gnu.so")
    accept(out, wheel)
    assert [path.name for path in cache.iterdir()] == [wheel.name]


def test_install_takes_the_tools_and_dependencies_from_the_extra_of_the_installed_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "regionstack-9.dist-info").mkdir()
    (tmp_path / "regionstack-9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: regionstack\nVersion: 9\nRequires-Dist: numpy<3,>=2.4\n"
        "Requires-Dist: cmake<4,>=3.25; extra == \"horovod\"\nRequires-Dist: wheel; extra == 'horovod'\n"
        "Requires-Dist: pytest; extra == 'test'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert tools_and_dependencies() == ["cmake<4,>=3.25", "wheel"]
