"""Makes the lock files from setup.cfg, which alone declares what the project needs.

    python -m cluster.setup.lock             keep every locked version that still fits
    python -m cluster.setup.lock --upgrade   move to the newest versions that fit

Run it in a checkout after each change of `install_requires` or of a locked extra. It needs uv on the PATH
(`pip install uv`); nothing else does.
"""

import argparse
import configparser
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster.setup.horovod_target import GPU_LOCK, LOCK
from data_tools.errors import UserError
from data_tools.files import PROJECT_ROOT

RUNTIME = "install_requires"
LOCKED = {
    LOCK: (RUNTIME, "pdf", "serve", "onnx", "mlflow", "horovod"),
    GPU_LOCK: ("gpu",),
    LOCK.with_name("requirements-test.lock"): ("test",),
    LOCK.with_name("requirements-aws.lock"): ("aws",),
    LOCK.with_name("requirements-gcp.lock"): ("gcp",),
    LOCK.with_name("requirements-clouds.lock"): ("clouds",),
}
"""What each lock file pins: the run-time dependencies, and extras by name. Every host gets the first; the others add to
it. All fit together."""
ENTRY = re.compile(r"^([a-z0-9-]+)==\S+(?: ; (.*?))? \\$", re.MULTILINE)
"""Name and marker of a package in a lock file."""
HEADER = "# Made from setup.cfg by `python -m cluster.setup.lock`, with the SHA-256 of each file of each version.\n"


def declared(group: str) -> list[str]:
    """The requirements that setup.cfg lists under `install_requires` or under an extra, one string each.

    Raises:
        UserError: this is not a checkout, or setup.cfg has no such group.
    """
    source = PROJECT_ROOT / "setup.cfg"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(source)
    section = "options" if group == RUNTIME else "options.extras_require"
    if not parser.has_option(section, group):
        raise UserError(f"{source}: no {group} in [{section}]; run this in a checkout of the project")
    return [line for line in parser[section][group].splitlines() if line]


def lock_all(*, upgrade: bool) -> None:
    """Resolve all groups together for all supported Pythons, then write each lock file of `LOCKED`.

    Raises:
        UserError: uv is not installed.
        subprocess.CalledProcessError: no versions fit; uv has printed why.
    """
    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "together.txt"
        # Versions in the file that uv writes are kept where they fit.
        together.write_text("".join(path.read_text() for path in LOCKED if path.exists()))
        resolve([group for groups in LOCKED.values() for group in groups], together, upgrade=upgrade)
        base = ""
        for path, groups in LOCKED.items():
            part = Path(folder) / path.name
            resolve(groups, part, within=together)
            path.write_text(HEADER + beyond(base, part.read_text()))
            base = base or part.read_text()


def resolve(groups: Sequence[str], path: Path, *, within: Path | None = None, upgrade: bool = False) -> None:
    """Write the versions that `groups` need, with hashes, to `path`; only such as are in the file `within`."""
    uv = shutil.which("uv")
    if uv is None:
        raise UserError("uv is not on the PATH; pip install uv")
    options = ["--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--generate-hashes"]
    options += ["--no-annotate", "--no-header", "--no-config", *(["--upgrade"] if upgrade else [])]
    options += ["--constraint", str(within)] if within else []
    lines = "\n".join(line for group in groups for line in declared(group))
    command = [uv, "pip", "compile", *options, "--quiet", "--output-file", str(path), "-"]
    subprocess.run(command, input=lines, text=True, check=True)


def beyond(base: str, text: str) -> str:
    """The entries of a lock file's `text` that `base` lacks, or has for some platforms only."""
    unconditional = {name for name, marker in ENTRY.findall(base) if not marker}
    same = set(ENTRY.findall(base))
    entries = re.findall(r"^[a-z0-9].*(?:\n[ ].*)*\n", text, re.MULTILINE)
    return "".join(
        entry for entry in entries if (found := ENTRY.findall(entry)[0])[0] not in unconditional and found not in same
    )


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="lock", description="Make the lock files from setup.cfg.")
    parser.add_argument("--upgrade", action="store_true", help="move to the newest versions that fit")
    options = parser.parse_args()
    try:
        lock_all(upgrade=options.upgrade)
        print("\n".join(map(str, LOCKED)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
