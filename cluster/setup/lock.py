"""Makes the lock files from setup.cfg, which alone declares what the project needs.

    python -m cluster.setup.lock             keep every locked version that still fits
    python -m cluster.setup.lock --upgrade   move to the newest versions that fit

Run it in a checkout after each change of `install_requires` or of a locked extra. It needs uv on the PATH
(`pip install uv`); nothing else does.
"""

import argparse
import configparser
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.setup.horovod_target import GPU_LOCK, LOCK
from data_tools.errors import UserError
from data_tools.files import PROJECT_ROOT

RUNTIME = "install_requires"
LOCKED = {LOCK: (RUNTIME, "pdf", "serve", "onnx", "horovod", "test"), GPU_LOCK: ("gpu",)}
"""What each lock file pins: the run-time dependencies, and extras by name."""
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


def lock(path: Path, groups: Sequence[str], *, upgrade: bool) -> None:
    """Resolve `groups` for all supported Pythons at once and write the result to `path`.

    Raises:
        UserError: uv is not installed.
        subprocess.CalledProcessError: no versions fit; uv has printed why.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise UserError("uv is not on the PATH; pip install uv")
    options = ["--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--generate-hashes"]
    options += ["--no-annotate", "--no-header", "--no-config", *(["--upgrade"] if upgrade else [])]
    lines = "\n".join(line for group in groups for line in declared(group))
    command = [uv, "pip", "compile", *options, "--quiet", "--output-file", str(path), "-"]
    subprocess.run(command, input=lines, text=True, check=True)
    path.write_text(HEADER + path.read_text())


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="lock", description="Make the lock files from setup.cfg.")
    parser.add_argument("--upgrade", action="store_true", help="move to the newest versions that fit")
    options = parser.parse_args()
    try:
        for path, groups in LOCKED.items():
            lock(path, groups, upgrade=options.upgrade)
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
