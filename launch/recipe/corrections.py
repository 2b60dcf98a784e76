"""The corrections of a configuration against its shards, before the first job and not after days of training."""

from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.shard_set import ShardSet
from launch.config import Config
from launch.terminal.console import print_out
from trainer.job_folder.corrections import kept_corrections, record_effect

DECISIONS = {"relabel": "with another label", "exclude": "excluded", "keep": "confirmed"}


def check_corrections(config: Config) -> None:
    """Apply the run's corrections to its shards, print what they do, and add that to the record of the run.

    The run folder holds a copy of the corrections, and the shards are complete.

    Raises:
        UserError: a row does not fit the pages, or the corrections leave a class without training pages, or a split
            without pages.
    """
    if config.data.corrections is None:
        return
    corrections, effect = kept_corrections(config.paths.run), {}
    for split in SPLITS:
        shards = ShardSet.open(config.paths.shard_set(split, HOLISTIC), corrections=corrections)
        _check_left(shards, split)
        effect[split] = shards.correction_counts
    record_effect(config.paths.run, effect)
    print_out(f"corrections: {'; '.join(_described(split, counts) for split, counts in effect.items() if counts)}")


def _check_left(shards: ShardSet, split: str) -> None:
    empty = [class_id for class_id, count in shards.manifest.histogram.items() if not count]
    if not len(shards) or (split == "train" and empty):
        what = f"class {empty[0]} without training pages" if len(shards) else f"no page in {split}"
        raise UserError(f"data.corrections: leave {what}; convert without the class, or undo some of the rows")


def _described(split: str, counts: dict[str, int]) -> str:
    parts = [f"{counts[kind]} {text}" for kind, text in DECISIONS.items() if counts.get(kind)]
    return f"{split}: {', '.join(parts)}"
