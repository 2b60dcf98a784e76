"""Horovod's source as the wheel is built from it: the known release, without one source, and with a few fixed lines."""

import tarfile
from pathlib import Path

from cluster.setup.horovod_target import HOROVOD
from data_tools.errors import UserError
from data_tools.files import sha256

SDIST_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
DROPPED_SOURCE = "xla_mpi_ops.cc"
FIXES = (
    # The list of ranks is filled through a pointer and never resized, so it stays empty; the check for ranks that
    # do not join a collective iterates over it and never finds one. A hang would never be reported.
    (
        "horovod/common/gloo/gloo_controller.cc",
        "global_ranks_.reserve(size_);",
        "global_ranks_.resize(size_);",
        "first",
    ),
    # The connections that carry gradients read an interface that is never set in their object. Unfixed,
    # HOROVOD_GLOO_IFACE applies to the first connection only, and a host name that does not resolve ends the process.
    (
        "horovod/common/gloo/gloo_context.cc",
        "device_attr.iface = gloo_iface_;",
        "device_attr.iface = global_context.gloo_iface_;",
        "last",
    ),
    # `horovodrun` looks for Horovod's libraries in a process that mutes Python's own streams only; what TensorFlow's
    # native code says there would reach the terminal.
    (
        "horovod/common/util.py",
        "            sys.stderr = open(os.devnull, 'w')\n",
        "            sys.stderr = open(os.devnull, 'w')\n"
        "            os.dup2(sys.stdout.fileno(), 1)\n"
        "            os.dup2(sys.stderr.fileno(), 2)\n",
        "first",
    ),
)
"""Lines of Horovod that the build replaces: file, old text, new text, and which occurrence of the old text."""


def prepare(sdist: Path, work: Path) -> Path:
    """Unpack the release below `work`, ready to be built; returns its tree.

    Raises:
        UserError: `sdist` is not the known release.
    """
    tree = unpack(sdist, work)
    drop_source(tree)
    apply_fixes(tree)
    skip_rpath(tree)
    return tree


def unpack(sdist: Path, work: Path) -> Path:
    """Unpack Horovod's release below `work`; returns its tree.

    Raises:
        UserError: the SHA-256 of `sdist` is not that of the known release.
    """
    found = sha256(sdist)
    if found != SDIST_SHA256:
        raise UserError(f"{sdist}: SHA-256 is {found}, but horovod {HOROVOD} has {SDIST_SHA256}; not built")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "source", filter="data")
    return work / "source" / f"horovod-{HOROVOD}"


def drop_source(tree: Path) -> None:
    """Remove the one source that does not build from Horovod's CMake lists.

    Raises:
        UserError: the lists do not name it exactly once, so this is not the known release.
    """
    lists = tree / "horovod" / "tensorflow" / "CMakeLists.txt"
    lines = lists.read_text().splitlines(keepends=True)
    kept = [line for line in lines if DROPPED_SOURCE not in line]
    if len(lines) - len(kept) != 1:
        raise UserError(f"{lists}: names {DROPPED_SOURCE} {len(lines) - len(kept)} times, expected once")
    lists.write_text("".join(kept))


def apply_fixes(tree: Path) -> None:
    """Fix faults of Horovod's last release; see `FIXES`.

    Raises:
        UserError: a file does not contain the line to be fixed.
    """
    for name, wrong, right, place in FIXES:
        file = tree / name
        text = file.read_text()
        before, found, after = text.rpartition(wrong) if place == "last" else text.partition(wrong)
        if not found:
            raise UserError(f"{file}: the line to be fixed is missing ({wrong}); not built")
        file.write_text(f"{before}{right}{after}")


def skip_rpath(tree: Path) -> None:
    """Keep the temporary folders that the build links against out of the library's search path."""
    lists = tree / "CMakeLists.txt"
    lists.write_text("set(CMAKE_SKIP_RPATH TRUE CACHE BOOL unused)\n" + lists.read_text())
