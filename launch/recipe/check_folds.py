"""Whether the training pages can be split into the configured folds."""

import numpy as np

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.shard_set import ShardSet
from launch.config import Config
from trainer.job_folder.corrections import kept_corrections
from trainer.job_folder.duplicates import Groups, keep_groups, kept_groups
from trainer.training.split import class_of_units, fold_of, units_of


def check_folds(config: Config) -> list[str]:
    """Check that `stack.folds` fits the training pages, before days of training; notes on what folds cannot help.

    Copies the groups of duplicates into the run folder first.

    Raises:
        UserError: groups of duplicates that cannot be used, a fold without pages, or a stage whose batch is larger than
            what is left without one.
    """
    folds = config.stack.folds
    if folds is None:
        return []
    groups = _kept_groups(config)
    corrections = None if config.data.corrections is None else kept_corrections(config.paths.run)
    shards = ShardSet.open(config.paths.shard_set("train", HOLISTIC), corrections=corrections)
    ids = shards.page_ids(range(len(shards)))
    known = set(ids)
    if groups and not any(page_id in known for group in groups for page_id in group):
        raise UserError(f"{config.paths.duplicates_file}: no training page is in it; give the survey of this data set")
    fold = fold_of(ids, shards.labels, folds=folds, seed=config.seed, groups=groups)
    sizes = np.bincount(fold, minlength=folds)
    units = class_of_units(units_of(ids, groups), shards.labels)
    if not sizes.all():
        raise UserError(
            f"stack.folds: {len(units)} training documents do not fill {folds} folds, class by class; set fewer "
            "folds, or add training pages"
        )
    left = len(shards) - int(sizes.max())
    for name, stage in config.stages.items():
        if stage.global_batch > left:
            raise UserError(
                f"stages.{name}.global_batch: {stage.global_batch} is more than the {left} training pages that are "
                f"left without one of the {folds} folds of stack.folds; lower it, or add training pages"
            )
    counts = np.bincount(list(units.values()), minlength=len(shards.manifest.class_ids))
    notes = []
    if config.stack.method == "average" and config.stack.members == "retrained":
        notes.append(
            "stack.method: average is not fitted; the folds only give out-of-fold outputs of the training pages"
        )
    return notes + [
        f"class {name} has {count} training document{'' if count == 1 else 's'}, fewer than the {folds} folds of "
        "stack.folds: " + ("the model that predicts it has seen none of it" if count == 1 else "some hold none of it")
        for name, count in zip(shards.manifest.class_names, counts.tolist(), strict=True)
        if 0 < count < folds
    ]


def _kept_groups(config: Config) -> Groups:
    if config.paths.duplicates_file is None:
        return ()
    keep_groups(config.paths.run, config.paths.duplicates_file)
    return kept_groups(config.paths.run)
