"""The set-up of a cluster's host: the real host.sh in a checkout whose environment.sh makes nothing.

The real environment.sh remakes the environment that the tests run in whenever setup.cfg or a lock file changes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def checkout_of(home: Path) -> Path:
    """The checkout beside `home` that holds host.sh and a stand-in for environment.sh, which records its calls."""
    root = home.parent / "checkout"
    setup = root / "cluster" / "setup"
    if not setup.exists():
        setup.mkdir(parents=True)
        shutil.copy(ROOT / "cluster" / "setup" / "host.sh", setup)
        (setup / "environment.sh").write_text(
            f'#!/bin/sh\necho "$VENV $REGIONSTACK_CACHE" >>{root}/calls\n'
            f'echo "$PIP_CACHE_DIR $CLOUD $GPU" >>{root}/more\n'
        )
        (setup / "environment.sh").chmod(0o755)
    return root


def host(home: Path, *arguments: str, status: int = 0, **more: str) -> str:
    env = {**os.environ, "HOME": str(home), "VENV": sys.prefix, **more}
    for name in ("REGIONSTACK_CACHE", "PIP_CACHE_DIR", "CLOUD", "GPU"):
        env.pop(name, None)
    script = checkout_of(home) / "cluster" / "setup" / "host.sh"
    ended = subprocess.run(
        ["bash", script, *arguments], env=env, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("a" * 64)
    return tmp_path / "home"


def login(home: Path, expression: str) -> str:
    """What a login shell of the host, as Ray's launcher starts it, makes of an expression."""
    command = f"source ~/.bashrc; echo {expression}"
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=True).stdout.strip()


def test_the_login_shell_finds_environment_project_and_shared_folder(home: Path, shared: Path) -> None:
    for _ in range(2):
        host(home, "--shared", f"{shared}/", "--bucket", "s3://pages")
    assert login(home, "$REGIONSTACK_SHARED $RAY_AUTH_MODE $PYTHONPATH $REGIONSTACK_BUCKET") == (
        f"{shared} token {checkout_of(home)} s3://pages"
    )
    assert (checkout_of(home) / "calls").read_text() == 2 * f"{sys.prefix} {shared}/cache\n"
    assert login(home, "$(command -v python)") == f"{sys.prefix}/bin/python"
    assert (home / ".bashrc").read_text().count("regionstack") == 1, "repeated set-up adds nothing"
    assert list(shared.iterdir()) == [], "the probe is gone"
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o077 == 0


def test_another_shared_folder_than_the_heads_is_rejected(home: Path, shared: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    host(home, "--mark-shared", REGIONSTACK_SHARED=str(shared))
    host(home, "--check-shared", REGIONSTACK_SHARED=str(shared))
    output = host(home, "--check-shared", REGIONSTACK_SHARED=str(other), PATIENCE_S="0", status=2)
    assert f"{other} is not the head's shared folder" in output
    assert "a" * 16 not in "".join(path.name for path in (shared / ".regionstack").iterdir()), "no part of the token"


@pytest.mark.parametrize(("arguments", "says"), [
    (("--shared", "/no/such/folder"), "/no/such/folder, the shared folder, does not exist"),
    (("--shared", "/proc/sys"), "/proc/sys, the shared folder, cannot be written by"),
    (("--shared", "runs"), "--shared needs an absolute path, is 'runs'"),
    (("--share", "/srv"), "--share: no such option"),
    (("--shared",), "--shared needs a value"),
    (("--shared", "/srv", "--cloud", "azure"), "--cloud azure: must be aws or gcp"),
])  # fmt: skip
def test_an_error_is_one_line(home: Path, arguments: tuple[str, ...], says: str) -> None:
    output = host(home, *arguments, status=2)
    assert says in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_a_host_without_the_token_is_rejected(home: Path, shared: Path) -> None:
    (home / ".ray" / "auth_token").unlink()
    output = host(home, "--mark-shared", REGIONSTACK_SHARED=str(shared), status=2)
    assert "ray get-auth-token --generate" in output


# --- a cloud's machine, whose programs are stand-ins ------------------------------------------------------------------

AS_ROOT = 'case $1 in -n) shift ;; esac; exec "$@"'
HELD = """case "$*" in
*update*)
    n=$(cat "$HOME/tries" 2>/dev/null || echo 0); echo $((n + 1)) >"$HOME/tries"
    [ "$n" -ge 2 ] || { echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100; } ;;
esac
echo "$@" >>"$HOME/apt\""""


def stand_ins(home: Path, **programs: str) -> dict[str, str]:
    """The PATH on which `programs` (name: what it does) come first."""
    folder = home / "programs"
    folder.mkdir(exist_ok=True)
    for name, does in {
        "sudo": AS_ROOT,
        "mountpoint": "exit 1",
        "chown": "exit 0",
        "sleep": "exit 0",
        **programs,
    }.items():
        file = folder / name.replace("_", ".")
        file.write_text(f"#!/bin/bash\n{does}\n")
        file.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def cards(home: Path, *, graphics: int) -> dict[str, str]:
    """A PCI bus with `graphics` NVIDIA cards, each with its audio function, and another vendor's network card."""
    bus = home / "pci"
    devices = [("0x10de", "0x030200"), ("0x10de", "0x040300")] * graphics + [("0x1d0f", "0x020000")]
    for number, (vendor, kind) in enumerate(devices):
        (bus / str(number)).mkdir(parents=True)
        (bus / str(number) / "vendor").write_text(vendor + "\n")
        (bus / str(number) / "class").write_text(kind + "\n")
    return {"PCI_DEVICES": str(bus)}


def test_the_version_of_nfs_is_left_to_client_and_server(home: Path, shared: Path) -> None:
    programs = stand_ins(home, mount='echo "$@" >>"$HOME/mounts"', mount_nfs="exit 0")
    host(home, "--shared", str(shared), "--nfs", "10.0.0.2:/share", **programs)
    (mounted,) = (home / "mounts").read_text().splitlines()
    assert mounted.split()[:2] == ["-t", "nfs"]
    assert "vers=" not in mounted
    assert "noresvport" in mounted.split()[3].split(",")
    assert mounted.split()[-2:] == ["10.0.0.2:/share", str(shared)]


def test_a_failed_mount_gives_mounts_own_reason(home: Path, shared: Path) -> None:
    reason = "mount.nfs: Failed to resolve server fs-1.efs: Name or service not known"
    programs = stand_ins(home, mount=f"echo '{reason}' >&2; exit 32", mount_nfs="exit 0")
    output = host(home, "--shared", str(shared), "--nfs", "fs-1.efs:/", status=2, **programs)
    assert reason in output
    assert output.count("\n") == 1


def test_apts_locks_are_waited_for(home: Path, shared: Path) -> None:
    programs = stand_ins(home, mount="exit 0", **{"apt-get": HELD})
    host(home, "--shared", str(shared), "--nfs", "server:/x", **without_nfs(home, programs))
    assert int((home / "tries").read_text()) >= 3, "the lists' lock was free at the third try"
    installed = [line for line in (home / "apt").read_text().splitlines() if "install" in line]
    assert all("DPkg::Lock::Timeout=600" in line for line in installed)
    assert installed[0].endswith("nfs-common")


def without_nfs(home: Path, programs: dict[str, str]) -> dict[str, str]:
    """A PATH without mount.nfs: only the stand-ins and the programs that host.sh itself needs."""
    tools = (
        "bash",
        "cat",
        "chmod",
        "cut",
        "dirname",
        "env",
        "g++",
        "grep",
        "hostname",
        "id",
        "make",
        "mkdir",
        "mv",
        "python3",
        "rm",
        "sh",
        "tail",
    )
    folder = home / "tools"
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return {"PATH": f"{programs['PATH'].partition(':')[0]}:{folder}"}


def test_what_apt_could_not_install_is_reported_with_its_reason(home: Path, shared: Path) -> None:
    programs = stand_ins(
        home, mount="exit 0", **{"apt-get": "echo 'E: Unable to locate package nfs-common' >&2; exit 100"}
    )
    output = host(home, "--shared", str(shared), "--nfs", "server:/x", **without_nfs(home, programs))
    assert "apt-get install nfs-common: E: Unable to locate package nfs-common" in output


def test_a_clouds_machine_waits_for_the_driver_of_its_cards(home: Path, shared: Path) -> None:
    late = 'n=$(cat "$HOME/asked" 2>/dev/null || echo 0); echo $((n + 1)) >"$HOME/asked"; [ "$n" -ge 2 ] || exit 9; '
    programs = stand_ins(home, **{"nvidia-smi": late + "echo 'GPU 0: NVIDIA L4'; echo 'GPU 1: NVIDIA L4'"})
    host(home, "--shared", str(shared), "--cloud", "aws", **programs, **cards(home, graphics=2))
    assert (checkout_of(home) / "more").read_text() == f"{shared}/cache/pip aws 1\n"
    assert login(home, "$REGIONSTACK_CLOUD") == "aws"


def test_a_gpu_is_found_however_much_the_driver_lists(home: Path, shared: Path) -> None:
    """More than a pipe holds: a reader that stops at the first line ends the driver's program by SIGPIPE, each time."""
    programs = stand_ins(home, **{"nvidia-smi": "exec seq -f 'GPU %.0f: NVIDIA L4' 0 9999"})
    host(home, "--shared", str(shared), **programs)
    assert (checkout_of(home) / "more").read_text() == f"{shared}/cache/pip  1\n"


def test_a_driver_that_does_not_come_is_an_error(home: Path, shared: Path) -> None:
    programs = stand_ins(home, **{"nvidia-smi": "echo 'GPU 0: NVIDIA L4'"})
    more = programs | cards(home, graphics=4) | {"DRIVER_WAIT_S": "0"}
    output = host(home, "--shared", str(shared), "--cloud", "gcp", status=2, **more)
    assert "4 NVIDIA cards and the driver lists 1 after 0 s" in output
    assert not (checkout_of(home) / "calls").exists(), "no environment for the CPU was made"


def test_a_machine_without_cards_waits_for_nothing(home: Path, shared: Path) -> None:
    programs = stand_ins(home, **{"nvidia-smi": "exit 9"})
    host(home, "--shared", str(shared), "--cloud", "gcp", **programs, **cards(home, graphics=0), DRIVER_WAIT_S="0")
    assert (checkout_of(home) / "more").read_text() == f"{shared}/cache/pip gcp \n"
