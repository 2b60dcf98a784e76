"""The run folder: opened once per command, begun or gone on with."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_tools import __version__
from data_tools.config import differences, read_yaml
from data_tools.errors import UserError
from data_tools.files import append_line, write_atomically, write_json
from data_tools.versions import installed
from launch.config import Config, resolved
from launch.recipe.stages import STACK, Recipe
from trainer.job_folder.journal import RESULT, job_folder

CONFIG = "config.yaml"
RUN = "run.json"
EVENTS = "events.jsonl"
DEPENDENCIES = ("tensorflow", "keras", "horovod", "ray", "numpy", "opencv-python-headless")
"""Packages whose versions are kept with a run."""

PLACES = (
    ("cluster",),
    ("checkpoint",),
    ("run",),
    ("data", "root"),
    ("shards", "folder"),
    ("shards", "workers"),
    ("shards", "page_timeout_s"),
)
"""Settings that say where and how safely a run is made; they may change between two calls of the same run."""


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that decides a run's results."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for *parents, last in PLACES:
        place: Any = result
        for parent in parents:
            place = place.get(parent, {})
        place.pop(last, None)
    return result


def open_run(config: Config) -> Path:
    """The run's folder, begun with this configuration or found begun with the same one.

    Raises:
        UserError: it was begun with another configuration (the fields are named), or cannot be written.
    """
    folder = Path(config.run.folder)
    mapping = resolved(config)
    path = folder / CONFIG
    if path.exists():
        changed = differences(deciding(read_yaml(path)), deciding(mapping))
        if changed:
            raise UserError(
                f"{folder}: this run was begun with another configuration: {'; '.join(changed)}; set run.folder to a "
                "new folder, or take the change back"
            )
    try:
        write_atomically(path, yaml.safe_dump(mapping, sort_keys=False))
        if not (folder / RUN).exists():
            versions = installed(*DEPENDENCIES) | {"regionstack": __version__}
            write_json(folder / RUN, {"created": time.time(), "command": sys.argv, "versions": versions})
    except OSError as error:
        raise UserError(f"{folder}: the run folder cannot be written ({error.strerror}); set run.folder") from None
    return folder


def record_event(folder: Path, record: Mapping[str, Any]) -> None:
    """Append one event to the run's record."""
    append_line(folder / EVENTS, dict(record))


def unfinished(folder: Path, recipe: Recipe) -> list[str]:
    """Names of the jobs (the stack among them) that have no result yet, in order."""
    names = [*(job.name for job in recipe.jobs), STACK]
    return [name for name in names if not (job_folder(folder, name) / RESULT).exists()]
