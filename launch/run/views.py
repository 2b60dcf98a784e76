"""A finished run again with other views of each page (test-time augmentation), without training anything again.

The copy has the run's checkpoints and no results. Its jobs resume at their last step, so all that is left to them is to
predict, with the new views; the stack and the policy are then fitted on those predictions.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import yaml

from data_tools.config import read_yaml, to_mapping
from data_tools.errors import UserError
from data_tools.files import atomic_folder
from launch.config import Config, config_from, resolved
from launch.recipe.stages import plan_recipe
from launch.run.folder import CONFIG
from trainer.config import ViewsConfig
from trainer.job_folder import corrections
from trainer.job_folder.journal import CHECKPOINTS, RESULT, job_folder
from trainer.job_folder.journal import CONFIG as JOB_CONFIG

WEIGHTS = "weights"


def copy_with_views(run: Path, target: Path, views: ViewsConfig) -> Path:
    """Make `target`, a run folder for `train-all`, from the trained jobs of `run`; the path of its configuration.

    Checkpoints are hard links where the file system allows it, so they take no space.

    Raises:
        UserError: `run` is no run folder, a job of it is not trained to the end, it has these views already, or
            `target` exists.
    """
    if target.exists():
        raise UserError(f"{target}: exists already; remove it, or give another folder")
    config = _config_of(run)
    if views == config.training.views:
        raise UserError(f"{run}: has these views already; give others with --shift and --scale")
    jobs = [job.name for job in plan_recipe(config).jobs]
    unfinished = [name for name in jobs if not (job_folder(run, name) / RESULT).exists()]
    if unfinished:
        raise UserError(f"{run}: {unfinished[0]} is not finished; run train-all to the end first")
    changed = replace(
        config, training=replace(config.training, views=views), run=replace(config.run, folder=str(target))
    )
    with atomic_folder(target) as folder:
        for name in jobs:
            _link(job_folder(run, name) / CHECKPOINTS, job_folder(folder, name) / CHECKPOINTS)
            _record_views(job_folder(run, name) / JOB_CONFIG, job_folder(folder, name) / JOB_CONFIG, views)
        if (run / WEIGHTS).is_dir():
            _link(run / WEIGHTS, folder / WEIGHTS)
        for name in (corrections.FILE, corrections.RECORD):
            if (run / name).exists():
                shutil.copy2(run / name, folder / name)
        (folder / CONFIG).write_text(yaml.safe_dump(resolved(changed), sort_keys=False))
    return target / CONFIG


def _record_views(source: Path, target: Path, views: ViewsConfig) -> None:
    """Write a job's configuration with other views; the job compares it with its own when it resumes."""
    if not source.exists():
        return
    config = read_yaml(source)
    config["training"] = {**config["training"], "views": to_mapping(views)}
    target.write_text(yaml.safe_dump(config, sort_keys=False))


def _config_of(run: Path) -> Config:
    path = run / CONFIG
    if not path.exists():
        raise UserError(f"{run}: is not a run folder ({CONFIG} is missing)")
    return config_from(read_yaml(path))


def _link(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    """A hard link, or a copy where the file system has none; files of checkpoints are never changed in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
