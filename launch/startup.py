"""What every command does first: choose its configuration, and look for relative paths where all hosts see them."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from data_tools.errors import UserError
from launch.config import preset_names
from launch.terminal.console import print_out

SHARED = "REGIONSTACK_SHARED"
"""Environment variable in which `cluster/setup/host.sh` names the cluster's shared folder."""
CONFIG = "REGIONSTACK_CONFIG"
"""Environment variable that names the configuration of commands without `--config`."""
CONFIG_FILE = "regionstack.yaml"
DEFAULT_PRESET = "demo"
INPUTS = ("config", "run", "shards", "launcher", "pages", "sources", "source", "root", "token_file", "pool")
"""Options that name something to read: what exists in the working folder is meant, also on a cluster."""


def settle(options: argparse.Namespace, *, say: Callable[[str], None]) -> None:
    """Enter the cluster's shared folder, if there is one, and choose the configuration of a command that needs one.

    `ray submit`, `ray exec` and `ray job submit` start commands in a folder that no other host sees, so on a cluster
    relative paths are resolved in the shared folder; what is read and exists in the working folder is still found.
    A working folder inside the shared folder is kept. Changes `options`; `say` gets one line, or none.

    Raises:
        UserError: the shared folder cannot be entered, or REGIONSTACK_CONFIG names no file.
    """
    here, shared = Path.cwd(), shared_folder()
    entered = shared is not None and not here.resolve().is_relative_to(shared.resolve())
    if entered:
        for name in INPUTS:
            if hasattr(options, name):
                setattr(options, name, _as_seen_from(here, getattr(options, name)))
    said = []
    if getattr(options, "needs_config", False) and options.config is None:
        options.config, why = default_config(here, shared)
        said.append(f"configuration: {options.config} ({why})")
    if entered and shared is not None:
        _enter(shared)
        said.append(f"relative paths are resolved in {shared}, the shared folder of the cluster")
    if said:
        say("; ".join(said))


def say_once(line: str) -> None:
    """Print a line, in the first rank of a world only."""
    if os.environ.get("HOROVOD_RANK", "0") == "0":
        print_out(line)


def shared_folder() -> Path | None:
    """The shared folder of the cluster that this host belongs to; None without one."""
    named = os.environ.get(SHARED)
    return Path(named) if named else None


def default_config(here: Path, shared: Path | None) -> tuple[str, str]:
    """The configuration of a command without `--config`, and where it was found.

    The first of: $REGIONSTACK_CONFIG, regionstack.yaml in the working folder, in the shared folder; else the demo.

    Raises:
        UserError: REGIONSTACK_CONFIG names neither a file nor a preset.
    """
    named = os.environ.get(CONFIG)
    folders = {here: "in the working folder"} | ({shared: "in the shared folder"} if shared is not None else {})
    if named:
        found = [folder / named for folder in folders if (folder / named).is_file()]
        if not found and named not in preset_names():
            raise UserError(f"{CONFIG}: {named}: no such file, and not one of the presets {', '.join(preset_names())}")
        return str(found[0]) if found else named, f"${CONFIG}"
    for folder, where in folders.items():
        if (folder / CONFIG_FILE).is_file():
            return str(folder / CONFIG_FILE), where
    return DEFAULT_PRESET, f"the preset, since there is no --config, ${CONFIG} or {CONFIG_FILE}"


def _as_seen_from(here: Path, value: object) -> object:
    """`value`, or each of its parts, as an absolute path if it exists in the folder `here`; otherwise as given."""
    if isinstance(value, list):
        return [_as_seen_from(here, part) for part in value]
    if not isinstance(value, str) or not value:
        return value
    found = here / value
    # A folder may have the name of a preset.
    return str(found) if found.exists() and not (value in preset_names() and found.is_dir()) else value


def _enter(shared: Path) -> None:
    try:
        os.chdir(shared)
    except OSError as error:
        raise UserError(f"{shared} ({SHARED}): the shared folder cannot be entered ({error.strerror})") from None
