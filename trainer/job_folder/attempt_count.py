"""What a job's folder says of its earlier attempts: how many there were, and with which configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data_tools.config import differences, read_yaml, to_mapping
from data_tools.errors import UserError
from data_tools.files import write_atomically
from trainer.config import JobConfig
from trainer.job_folder.checkpoint import CheckpointFolder
from trainer.job_folder.heartbeat import recorded_attempt
from trainer.job_folder.journal import CHECKPOINTS, CONFIG
from trainer.world import World


def number_attempt(folder: Path, world: World) -> int:
    """How often this job has been started, this time included; counted in its folder, whoever starts it."""
    before = attempts_before(folder) if world.rank == 0 else 0
    return int(world.sum(np.array([before], np.int64), name="attempt")[0]) + 1


def attempts_before(folder: Path) -> int:
    """Attempts that left a trace in the job's folder; a sign of life is not synced, and may have been lost."""
    return max(recorded_attempt(folder, rank) for rank in (0, 1))


def keep_config(folder: Path, config: JobConfig) -> None:
    """Write the job's configuration, or compare it with the one that the job was begun with.

    Raises:
        UserError: they differ in a field that changes the result; the text names the fields.
    """
    path, ours = folder / CONFIG, to_mapping(config)
    theirs = read_yaml(path) if path.exists() else CheckpointFolder(folder / CHECKPOINTS, keep=1).config()
    if theirs:
        changed = differences(_deciding(theirs), _deciding(ours))
        if changed:
            raise UserError(f"{folder}: the job was begun with another configuration: {'; '.join(changed)}")
    write_atomically(path, yaml.safe_dump(ours, sort_keys=False))


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a job's configuration that decides its result (how often it is saved does not)."""
    return {key: value for key, value in config.items() if key not in ("checkpoint", "shards")}
