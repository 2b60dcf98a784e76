"""The run folder: created by the first call of a command, opened by later calls with the same configuration."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_tools import __version__
from data_tools.config import differences, read_yaml
from data_tools.errors import UserError
from data_tools.files import append_line, read_object, write_atomically, write_json
from data_tools.versions import installed
from launch.config import Config, config_from, resolved
from launch.recipe.stages import Recipe, plan_recipe
from launch.run.schema import EventRecord, RunInfo
from trainer.job_folder.corrections import check_same, keep_corrections
from trainer.job_folder.journal import RESULT, job_folder

CONFIG = "config.yaml"
RUN = "run.json"
EVENTS = "events.jsonl"
DEPENDENCIES = ("tensorflow", "keras", "horovod", "ray", "numpy", "opencv-python-headless")
"""Packages whose versions are recorded with a run."""

NON_RESULT_SETTINGS = (
    ("cluster",),
    ("checkpoint",),
    ("run",),
    ("tracking",),
    ("distill",),
    ("data", "root"),
    ("data", "outside_links"),
    ("shards", "folder"),
    ("shards", "workers"),
    ("shards", "page_timeout_s"),
)
"""Settings that do not affect what `train-all` computes, and may change on resume: where a run is made, how it is
guarded, who watches it, and how a student learns from it later."""


def result_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that affects a run's results."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for *parents, last in NON_RESULT_SETTINGS:
        section: Any = result
        for parent in parents:
            section = section.get(parent, {})
        section.pop(last, None)
    return result


def open_run(config: Config) -> Path:
    """Create the run's folder, or open it if it exists with the same configuration; its absolute path.

    Raises:
        UserError: the recipe cannot be planned (nothing is written then); the run was created with another
            configuration (the message names the fields); or the folder cannot be written.
    """
    jobs = list(plan_recipe(config).job_names)
    folder = config.paths.run
    mapping = resolved(config)
    path = folder / CONFIG
    corrections = config.paths.corrections
    if path.exists():
        recorded = _with_defaults(read_yaml(path))
        if corrections is not None and recorded.get("data", {}).get("corrections") is not None:
            recorded["data"]["corrections"] = mapping["data"]["corrections"]  # their content counts, see below
        changed = differences(result_settings(recorded), result_settings(mapping))
        if changed:
            raise UserError(
                f"{folder}: this run was created with another configuration: {'; '.join(changed)}; set run.folder to "
                "a new folder, or undo the change"
            )
    if corrections is not None:
        check_same(folder, corrections)
    try:
        write_atomically(path, yaml.safe_dump(mapping, sort_keys=False))
        _record_run(folder / RUN, jobs)
        if corrections is not None:
            keep_corrections(folder, corrections)
    except OSError as error:
        raise UserError(f"{folder}: the run folder cannot be written ({error.strerror}); set run.folder") from None
    return folder


def _with_defaults(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded configuration with the defaults of settings that are newer than it."""
    try:
        return resolved(config_from(recorded))
    except UserError:
        return recorded


def _record_run(path: Path, jobs: list[str]) -> None:
    """Write `run.json` once. To one that an older version wrote without the jobs, add them."""
    if not path.exists():
        versions = installed(*DEPENDENCIES) | {"regionstack": __version__}
        write_json(path, RunInfo(created=time.time(), command=sys.argv, versions=versions, jobs=jobs))
        return
    found = read_object(path)
    if "jobs" not in found:
        write_json(path, {**found, "jobs": jobs})


def record_event(folder: Path, record: EventRecord) -> None:
    """Append one event to the record of the run."""
    append_line(folder / EVENTS, dict(record))


def unfinished_jobs(folder: Path, recipe: Recipe) -> list[str]:
    """Names of the jobs that have no result yet, in the order of the recipe, the stack last."""
    return [name for name in recipe.job_names if not (job_folder(folder, name) / RESULT).exists()]
