"""Training the whole-page model once for each fold of the training pages, to judge their labels: its configuration."""

from dataclasses import replace
from pathlib import Path

from data_tools.config import read_yaml
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from launch.config import Config, config_from, resolved
from launch.labels.ranking import FOLDER
from launch.recipe.prepare import weights_path
from launch.recipe.stages import plan_recipe
from launch.run.folder import CONFIG
from trainer.job_folder.corrections import FILE
from trainer.labels.recorded import has_folds

FOLDS_FOLDER = f"{FOLDER}/folds"
"""Folder in the run of the fold jobs, a run of its own."""


def fold_config(config: Config, run: Path, *, folds: int, shards: Path) -> Config:
    """The configuration of a run in `FOLDS_FOLDER` that trains the whole-page stages of `config` for each fold.

    run: folder of the run whose labels are judged. shards: folder of its shards.

    Raises:
        UserError: no stage trains a whole-page model, fewer than two folds, or a run that has folds of its own.
    """
    if config.stack.folds is not None:
        raise UserError(f"--retrain: {run} has stack.folds, whose outputs judge its training pages; omit the option")
    if folds < 2:
        raise UserError(f"--retrain {folds}: must be at least 2")
    stages = {name: stage for name, stage in config.stages.items() if stage.region == HOLISTIC}
    if not stages:
        raise UserError(f"{run}: no stage of this run trains a whole-page model, which --retrain trains for each fold")
    mapping = resolved(replace(config, stages=stages))
    weights = weights_path(config, run=run)
    mapping["regions"] = {}
    mapping["stack"] |= {"folds": folds, "members": "average", "method": "average", "exclude_ids_file": None}
    mapping["shards"]["folder"] = str(shards)
    mapping["run"]["folder"] = str(run / FOLDS_FOLDER)
    mapping["model"]["weights"] = "none" if weights is None else str(weights)
    mapping["data"]["corrections"] = None if config.data.corrections is None else str(run / FILE)
    return config_from(mapping)


def trained_folds(run: Path) -> tuple[Path, str] | None:
    """Folder and member of the fold jobs of `run` that have finished; None without."""
    folder = run / FOLDS_FOLDER
    if not (folder / CONFIG).exists():
        return None
    (member,) = plan_recipe(config_from(read_yaml(folder / CONFIG))).members
    return (folder, member) if has_folds(folder, (member,)) else None
