"""Run commands in one process, as a user whom the file system's permissions bind; print how each ended.

    unshare … python -m tests.helpers.unwritable WORK [READ_ONLY…] < commands.json

WORK: an empty folder, in which the targets are made. READ_ONLY: folders to mount read-only. Standard input: a list of
argument lists; `{name}` in an argument stands for the path of a target of `TARGETS`. Output: a list of [status, stderr]
after everything that the commands print; a traceback has the status null.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.helpers.commands import ROOT, environment

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
"""A mount namespace of one's own; the tests' user is root in it, and may mount."""
WITHOUT_PRIVILEGES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Root without a capability: an ordinary user to the file system, who can still read this environment's Python."""

TARGETS = ("closed", "hidden", "read_only", "full", "file", "folder", "loop", "long")
"""Folders without permission to write, and to look into; on a read-only and on a full file system; a file; a folder; a
link to itself; a name that is too long."""

Ended = tuple[int | None, str]


def run_unprivileged(
    commands: Iterable[Sequence[str]], work: Path, *, read_only: Sequence[Path] = (), timeout_s: float = 280
) -> list[Ended]:
    """Exit status and stderr of each command, run one after the other without privileges and without a home."""
    program = [*NAMESPACE, sys.executable, "-m", __name__, str(work), *map(str, read_only)]
    ended = subprocess.run(
        program, input=json.dumps(list(commands)), cwd=ROOT, text=True, capture_output=True, check=False,
        timeout=timeout_s, env={**environment(), "HOME": str(work / "closed")},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-6000:]
    return [(status, errors) for status, errors in json.loads(ended.stdout.splitlines()[-1])]


def path_of(target: str, work: Path) -> Path:
    """The path of one of `TARGETS`."""
    return work / ("n" * 300 if target == "long" else target)


def make_targets(work: Path) -> None:
    """Make the targets; needs the privileges that the commands then lack."""
    for name in ("closed", "hidden", "read_only", "full", "folder"):
        (work / name).mkdir()
    (work / "folder" / "inside").touch()
    (work / "file").touch()
    (work / "loop").symlink_to("loop")
    (work / "closed").chmod(0o555)
    (work / "hidden").chmod(0o000)
    mount("-t", "tmpfs", "-o", "size=4k", "none", str(work / "full"))
    mount("-t", "tmpfs", "-o", "ro", "none", str(work / "read_only"))
    with contextlib.suppress(OSError), (work / "full" / "fill").open("wb", buffering=0) as file:
        file.write(b"x" * 4096)


def mount(*arguments: str) -> None:
    """Mount a file system in this process' namespace."""
    subprocess.run(["mount", *arguments], check=True)


def done(arguments: Sequence[str]) -> Ended:
    """Run one command; its exit status and what it wrote to stderr."""
    from launch.cli import main

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            status: int | None = main(arguments)
        except Exception:  # noqa: BLE001 - a traceback is the result
            status = None
            traceback.print_exc(file=errors)
    return status, errors.getvalue()


def start_without_privileges(work: Path, read_only: Sequence[str]) -> None:
    """Make the targets and mount, then start this program again without the privileges that this took."""
    make_targets(work)
    for folder in read_only:
        mount("--bind", folder, folder)
        mount("-o", "remount,bind,ro", folder)
    again = [sys.executable, "-m", __spec__.name, str(work)]
    os.execvpe(WITHOUT_PRIVILEGES[0], [*WITHOUT_PRIVILEGES, *again], {**os.environ, MADE: "1"})


MADE = "TARGETS_MADE"

if __name__ == "__main__":
    here = Path(sys.argv[1])
    if MADE not in os.environ:
        start_without_privileges(here, sys.argv[2:])
    paths = {name: str(path_of(name, here)) for name in TARGETS}
    rows = [[part.format(**paths) for part in arguments] for arguments in json.load(sys.stdin)]
    found = [done(arguments) for arguments in rows]
    sys.stdout.write("\n" + json.dumps(found) + "\n")
