"""The checks and the reports of cluster/setup/environment.sh, run with a PATH of stand-ins."""

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cluster.setup.horovod_target import this_target, wheel_name

ROOT = Path(__file__).parents[4]
TOOLS = [
    *("awk", "bash", "cat", "df", "dirname", "env", "flock", "grep", "make", "mkdir"),
    *("realpath", "rm", "sed", "sha256sum", "tail"),
]
NO_PYTHON = "exit 127"
OLD_PYTHON = 'case "$2" in *sys.exit*) exit 1 ;; esac; echo "is Python 3.9.2"'
REAL_PYTHON = f'exec {sys.executable} "$@"'
# Silent about its base prefix, so that the script does not turn to the interpreter behind the stand-in.
STAND_IN = f'case "$2" in *base_prefix*) exit 0 ;; esac; {REAL_PYTHON}'
WITHOUT_VENV = f'case "$2" in *ensurepip*) exit 1 ;; esac; {STAND_IN}'
VENV_FAILS = f'case "$2" in venv) echo working; echo "Error: no room for pip"; exit 3 ;; esac; {STAND_IN}'
FULL_DISK = "echo header; echo /dev/root 9 9 1048576 99% /"
COMPILER = "exit 0"


class Checkout:
    """A checkout of nothing but the set-up, and the only programs that it can find."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "programs"
        self.cache = root / "cache"
        self.programs.mkdir()
        for tool in TOOLS:
            (self.programs / tool).symlink_to(str(shutil.which(tool)))
        for part in ("cluster/setup", "data_tools"):
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("drawn", "__pycache__"))
        for name in ("cluster/__init__.py", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, root / name)

    def have(self, program: str, does: str) -> None:
        path = self.programs / program
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)

    def set_up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": str(self.programs),
            "HOME": str(self.root),
            "REGIONSTACK_CACHE": str(self.cache),
            **variables,
        }
        script = self.root / "cluster/setup/environment.sh"
        return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)

    def cache_wheel(self) -> None:
        wheel = self.cache / "wheels" / wheel_name(this_target(None))
        wheel.parent.mkdir(parents=True)
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("horovod/__init__.py", b"")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def refused(result: subprocess.CompletedProcess[str], checkout: Checkout) -> str:
    """The one line with which set-up refused, before it made or fetched anything."""
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert not (checkout.root / ".venv").exists()
    return line


@pytest.mark.parametrize(
    ("python", "found"), [(NO_PYTHON, "python3 cannot be run"), (OLD_PYTHON, "python3 is Python 3.9.2")]
)
def test_an_unsupported_python_is_one_line(checkout: Checkout, python: str, found: str) -> None:
    checkout.have("python3", python)
    line = refused(checkout.set_up(), checkout)
    assert line.startswith(f"error: Python 3.11, 3.12 or 3.13 is needed and {found}; ")


def test_the_named_python_is_the_one_that_is_checked(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    line = refused(checkout.set_up(PYTHON="python9"), checkout)
    assert "python9 cannot be run" in line


def test_a_supported_python_beside_an_old_python3_is_found(checkout: Checkout) -> None:
    checkout.have("python3", OLD_PYTHON)
    checkout.have("python3.12", REAL_PYTHON)
    assert "gcc is missing" in refused(checkout.set_up(), checkout)


def test_a_python_without_venv_is_one_line_with_the_package(checkout: Checkout) -> None:
    checkout.have("python3", WITHOUT_VENV)
    line = refused(checkout.set_up(), checkout)
    assert line.endswith(f"apt install python{sys.version_info.major}.{sys.version_info.minor}-venv")


@pytest.mark.parametrize("missing", ["gcc", "g++", "make"])
def test_a_missing_compiler_is_one_line(checkout: Checkout, missing: str) -> None:
    checkout.have("python3", REAL_PYTHON)
    checkout.have("gcc", COMPILER)
    checkout.have("g++", COMPILER)
    (checkout.programs / missing).unlink()
    line = refused(checkout.set_up(), checkout)
    assert line.startswith(f"error: {missing} is missing and Horovod must be compiled; ")
    assert line.endswith("apt install gcc g++ make")


def test_a_compiler_that_does_not_compile_is_one_line(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    checkout.have("gcc", COMPILER)
    checkout.have("g++", "exit 1")
    assert "g++ cannot compile a C++17 program" in refused(checkout.set_up(), checkout)


def test_no_compiler_is_needed_where_the_wheel_is_cached(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    checkout.have("df", FULL_DISK)
    checkout.cache_wheel()
    assert "the environment needs 4 GiB" in refused(checkout.set_up(), checkout)


def test_a_folder_that_the_script_did_not_create_is_left_alone(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    checkout.cache_wheel()
    mine = checkout.root / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    line = refused(checkout.set_up(VENV=str(mine)), checkout)
    assert line.startswith(f"error: {mine} exists and was not made by this script")
    assert (mine / "letter.txt").exists()


def test_a_failed_step_reports_its_name_the_reason_and_its_log(checkout: Checkout) -> None:
    checkout.have("python3", VENV_FAILS)
    checkout.cache_wheel()
    result = checkout.set_up()
    assert result.returncode == 3
    assert "[1/5] make the virtual environment ... failed" in result.stdout
    first, reason, last = result.stderr.splitlines()
    assert first == 'error: set-up step 1 of 5, "make the virtual environment", failed with status 3:'
    assert reason.strip() == "Error: no room for pip"
    log = Path(last.removeprefix("the whole log: "))
    assert log.read_text() == "working\nError: no room for pip\n"


def test_a_second_set_up_waits_for_the_first(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    checkout.cache_wheel()
    with (checkout.root / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        script = checkout.root / "cluster/setup/environment.sh"
        environment = {**os.environ, "PATH": str(checkout.programs), "REGIONSTACK_CACHE": str(checkout.cache)}
        with subprocess.Popen([script], env=environment, stdout=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdout is not None
            assert "waiting for it" in waiting.stdout.readline()
            assert not (checkout.root / ".venv").exists()
            waiting.kill()


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("variable", [None, "venv/", "{owner}/.venv"])
def test_the_environment_of_another_checkout_is_refused(tmp_path: Path, recorded: bool, variable: str | None) -> None:
    """By a link, as in a worktree, or by VENV: it would be remade for this checkout, under that one's feet."""
    for name in ("owner", "mine"):
        (tmp_path / name).mkdir()
    owner, mine = Checkout(tmp_path / "owner"), Checkout(tmp_path / "mine")
    mine.have("python3", REAL_PYTHON)
    made = owner.root / ".venv"
    made.mkdir()
    (made / "made-by-regionstack").write_text(f"root={owner.root}\n" if recorded else "python=python3\n")
    (mine.root / ".venv").symlink_to(made)
    (mine.root / "venv").symlink_to(made)
    before = [(path, path.stat().st_mtime_ns) for path in (made, *made.iterdir())]
    result = mine.set_up(**({} if variable is None else {"VENV": variable.format(owner=owner.root)}))
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert str(owner.root) in line
    assert [(path, path.stat().st_mtime_ns) for path in (made, *made.iterdir())] == before


@pytest.mark.parametrize("kind", ["own", "gone"])
def test_a_linked_environment_that_no_other_checkout_owns_is_used(tmp_path: Path, kind: str) -> None:
    """On a larger disk; or made by a checkout that is gone. The next check, for a compiler, refuses."""
    for name in ("mine", "disk"):
        (tmp_path / name).mkdir()
    mine = Checkout(tmp_path / "mine")
    mine.have("python3", STAND_IN)
    owner = mine.root if kind == "own" else tmp_path / "gone"
    (tmp_path / "disk" / "made-by-regionstack").write_text(f"root={owner}\n")
    (mine.root / ".venv").symlink_to(tmp_path / "disk")
    result = mine.set_up()
    assert result.returncode == 2
    assert "gcc is missing" in result.stderr


def test_a_toolkit_of_another_major_release_is_refused_before_anything_is_fetched(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    nvcc = checkout.root / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.2, V13.2.51'\n")
    nvcc.chmod(0o755)
    line = refused(checkout.set_up(GPU="1", HOROVOD_CUDA_HOME=str(checkout.root / "cuda")), checkout)
    assert "CUDA 13.2, but TensorFlow" in line


def test_an_unknown_cloud_is_one_line(checkout: Checkout) -> None:
    checkout.have("python3", REAL_PYTHON)
    assert refused(checkout.set_up(CLOUD="azure"), checkout) == "error: CLOUD=azure: must be aws or gcp"


PIP = """case "$*" in
*"pip install"*) echo "$@" >>"$HOME/pip"; exit 4 ;;
esac
"""


@pytest.mark.parametrize(
    ("variables", "tests", "locks"),
    [
        ({}, False, ["requirements.lock"]),
        ({}, True, ["requirements.lock", "requirements-test.lock"]),
        ({"CLOUD": "aws"}, False, ["requirements.lock", "requirements-aws.lock"]),
        ({"HOROVOD_BUILD_CUDA_CC_LIST": "70,80"}, False, ["requirements.lock"]),
        ({"CLOUD": "gcp"}, True, ["requirements.lock", "requirements-gcp.lock", "requirements-test.lock"]),
    ],
)
def test_the_packages_are_those_of_the_lock_files_that_the_host_needs(
    checkout: Checkout, variables: dict[str, str], tests: bool, locks: list[str]
) -> None:
    """The step that installs them fails here on purpose: what it was called with is what counts."""
    stand_in = f"#!/bin/sh\n{PIP}{REAL_PYTHON}"
    write = f'printf %s \'{stand_in}\' >"$3/bin/python"; chmod 755 "$3/bin/python"'
    makes = f'case "$2" in venv) mkdir -p "$3/bin"; {write}; exit ;; esac'
    checkout.have("python3", f"{makes}\n{STAND_IN}")
    checkout.have("chmod", f'exec {shutil.which("chmod")} "$@"')
    checkout.cache_wheel()
    if tests:
        (checkout.root / "tests").mkdir()
    result = checkout.set_up(**variables)
    assert "[2/5] install the locked packages ... failed" in result.stdout
    installed = (checkout.root / "pip").read_text().split()
    assert [Path(word).name for word in installed if word.endswith(".lock")] == locks
    remembered = (checkout.root / ".venv" / "made-by-regionstack").read_text().splitlines()
    assert f"cloud={variables.get('CLOUD', '')}" in remembered
    assert f"capabilities={variables.get('HOROVOD_BUILD_CUDA_CC_LIST', '')}" in remembered
