"""Run commands in one process, as a user whom the file system's permissions bind; print how each ended.

    unshare … setpriv … python -m tests.helpers.unwritable WORK < commands.json

WORK: an empty folder, in which the targets are made. Standard input: a list of argument lists; `{name}` in an argument
stands for the path of a target of `TARGETS`. Output: a list of [status, stderr]; a traceback has the status null.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from launch.cli import main

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
"""A mount namespace of one's own; the tests' user is root in it, and may mount."""
WITHOUT_PRIVILEGES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Root without a capability: an ordinary user to the file system, who can still read this environment's Python."""

TARGETS = ("closed", "hidden", "read_only", "full", "file", "folder", "loop", "long")
"""Folders without permission to write, and to look into; on a read-only and on a full file system; a file; a folder; a
link to itself; a name that is too long."""


def make_targets(work: Path) -> None:
    """Make the targets; needs the privileges that the commands then lack."""
    for name in ("closed", "hidden", "read_only", "full", "folder"):
        (work / name).mkdir()
    (work / "folder" / "inside").touch()
    (work / "file").touch()
    (work / "loop").symlink_to("loop")
    (work / "closed").chmod(0o555)
    (work / "hidden").chmod(0o000)
    mount("tmpfs", "size=4k", work / "full")
    mount("tmpfs", "ro", work / "read_only")
    with contextlib.suppress(OSError), (work / "full" / "fill").open("wb", buffering=0) as file:
        file.write(b"x" * 4096)


def mount(kind: str, options: str, folder: Path) -> None:
    """Mount a file system of `kind` on a folder."""
    subprocess.run(["mount", "-t", kind, "-o", options, "none", str(folder)], check=True)


def done(arguments: Sequence[str]) -> tuple[int | None, str]:
    """Run one command; its exit status and what it wrote to stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            status: int | None = main(arguments)
        except Exception:  # noqa: BLE001 - a traceback is the result
            status = None
            traceback.print_exc(file=errors)
    return status, errors.getvalue()


if __name__ == "__main__":
    here = Path(sys.argv[1])
    if sys.argv[2:] != ["--made"]:
        make_targets(here)
        os.execvp(
            WITHOUT_PRIVILEGES[0], [*WITHOUT_PRIVILEGES, sys.executable, "-m", __spec__.name, str(here), "--made"]
        )
    paths = {name: str(here / ("n" * 300 if name == "long" else name)) for name in TARGETS}
    rows = [[part.format(**paths) for part in arguments] for arguments in json.load(sys.stdin)]
    sys.stdout.write(json.dumps([done(arguments) for arguments in rows]))
