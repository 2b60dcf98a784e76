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
        (setup / "environment.sh").write_text(f'#!/bin/sh\necho "$VENV $REGIONSTACK_CACHE" >>{root}/calls\n')
        (setup / "environment.sh").chmod(0o755)
    return root


def host(home: Path, *arguments: str, status: int = 0, **more: str) -> str:
    env = {**os.environ, "HOME": str(home), "VENV": sys.prefix, **more}
    env.pop("REGIONSTACK_CACHE", None)
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
