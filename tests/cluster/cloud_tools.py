"""The locked cloud packages in a cache folder, so that the head's Python on a cloud can be tried here.

Installed once from the package registry, with hashes: what `CLOUD=aws` and `CLOUD=gcp` add to an environment, and moto
and the AWS command line, which stand for Amazon.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from cluster.setup.horovod_target import LOCK, cache_folder

LOCKS = [LOCK.with_name(f"requirements-{name}.lock") for name in ("aws", "gcp", "clouds")]


def cloud_packages() -> Path:
    """The folder that holds the packages, installed if they are not yet (370 MB, 15 s from a fast registry)."""
    # Installed scripts begin with the interpreter's path.
    python = f"{sys.executable} {sys.version}".encode()
    key = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS) + python).hexdigest()[:16]
    tools = cache_folder(os.environ).parent / "clouds"
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = tools / key
        if not done.exists():
            unfinished = tools / f"{key}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(unfinished)]
            files = [part for file in LOCKS for part in ("-r", str(file))]
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *options, *files], check=True)
            unfinished.rename(done)
    return done


def environment(packages: Path) -> dict[str, str]:
    """The variables of a process that has these packages beside those of this environment."""
    paths = [str(packages), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": f"{packages / 'bin'}:{os.environ['PATH']}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def python(packages: Path, program: str, *arguments: str, **more: str) -> str:
    """Output of a Python program in that environment; it must succeed."""
    command = [sys.executable, "-c", program, *arguments]
    variables = environment(packages) | more
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
