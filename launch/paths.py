"""The paths of a configuration, resolved once."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where a run's files are. All paths are absolute, so they mean the same to a process in another folder.

    data_root: the folder that page ids are relative to. shards: the folder of the shard sets. run: the run folder.
    exclude_ids_file: the list of test pages with a duplicate in train; None if the configuration names none.
    corrections: the file of label corrections; None without. duplicates_file: the groups of duplicates for folds; None
    without.
    """

    data_root: Path
    shards: Path
    run: Path
    exclude_ids_file: Path | None
    corrections: Path | None = None
    duplicates_file: Path | None = None

    def shard_set(self, split: str, region: str) -> Path:
        """Folder of one shard set."""
        return self.shards / split / region
