"""Earlier attempts of a job, read from its folder: their number and their configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data_tools.config import differences, from_mapping, read_yaml, to_mapping
from data_tools.errors import UserError
from data_tools.files import write_atomically
from trainer.config import JobConfig
from trainer.job_folder.checkpoint import CheckpointFolder
from trainer.job_folder.heartbeat import recorded_attempt
from trainer.job_folder.journal import CHECKPOINTS, CONFIG
from trainer.world import World


def number_attempt(folder: Path, world: World) -> int:
    """Number of this attempt, counted from 1 in the job's folder, whoever starts the job; the same on every rank."""
    before = attempts_before(folder) if world.rank == 0 else 0
    return int(world.sum(np.array([before], np.int64), name="attempt")[0]) + 1


def attempts_before(folder: Path) -> int:
    """Attempts that left a heartbeat in the job's folder; heartbeats are not synced, so rank 1's may survive alone."""
    return max(recorded_attempt(folder, rank) for rank in (0, 1))


def keep_config(folder: Path, config: JobConfig) -> None:
    """Write the job's configuration, after comparing it with that of earlier attempts.

    Raises:
        UserError: they differ in a setting that changes the result; the text names the settings.
    """
    path, ours = folder / CONFIG, to_mapping(config)
    theirs = read_yaml(path) if path.exists() else CheckpointFolder(folder / CHECKPOINTS, keep=1).config()
    if theirs:
        changed = differences(_result_settings(_with_defaults(theirs)), _result_settings(ours))
        if changed:
            raise UserError(f"{folder}: the job was started with another configuration: {'; '.join(changed)}")
    write_atomically(path, yaml.safe_dump(ours, sort_keys=False))


def _with_defaults(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded configuration with the defaults of settings that are newer than it."""
    try:
        return dict(to_mapping(from_mapping(JobConfig, recorded, where="")))
    except UserError:
        return recorded


def _result_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine the job's result; where shards and start weights lie, how often it saves and what it
    charts do not. (What the start weights are is a setting of the run, `model.weights`.)"""
    kept = {key: value for key, value in config.items() if key not in ("checkpoint", "shards", "event_files")}
    return kept | {"weights_file": "a file" if config.get("weights_file") else None}
