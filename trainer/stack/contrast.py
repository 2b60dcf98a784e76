"""The contrast of a run's pages, from the shards of the whole page that its members name."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_tools.config import read_yaml
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.reader import ShardSet
from trainer.job_folder.corrections import kept_corrections
from trainer.job_folder.journal import CONFIG, job_folder
from trainer.scoring.unknown import contrast

SAMPLED_PAGES = 2000
"""Validation pages that are looked at for the faintest one."""
_BATCH = 256


def faintest_page(run: Path, members: Sequence[str]) -> float | None:
    """The smallest contrast of the run's validation pages, of up to `SAMPLED_PAGES` of them; None without shards."""
    shards = holistic_shards(run, members, "val")
    if shards is None:
        return None
    rows = np.arange(0, len(shards), max(len(shards) // SAMPLED_PAGES, 1))
    return min((float(part.min()) for part in _contrasts(shards, rows)), default=None)


def page_contrasts(
    run: Path, members: Sequence[str], split: str, *, on_pages: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """The contrast of each page of a split by page id; empty without shards. on_pages: see `contrasts_of`."""
    shards = holistic_shards(run, members, split)
    return {} if shards is None else contrasts_of(shards, on_pages=on_pages)


def contrasts_of(shards: ShardSet, *, on_pages: Callable[[int], None] = lambda _: None) -> dict[str, float]:
    """The contrast of each page of a shard set of the whole page, by page id.

    on_pages: called with the number of pages done so far.
    """
    found: list[float] = []
    for part in _contrasts(shards, np.arange(len(shards))):
        found += part.tolist()
        on_pages(len(found))
    return dict(zip(shards.page_ids(range(len(shards))), found, strict=True))


def holistic_shards(run: Path, members: Sequence[str], split: str) -> ShardSet | None:
    """The shards of the whole page that one of the members was made from; None if none is readable."""
    for name in members:
        try:
            config = read_yaml(job_folder(run, name) / CONFIG)
            corrections = kept_corrections(run) if config.get("corrected") else None
            return ShardSet.open(Path(str(config.get("shards"))) / split / HOLISTIC, corrections=corrections)
        except UserError:
            continue
    return None


def _contrasts(shards: ShardSet, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.float64]]:
    for first in range(0, len(rows), _BATCH):
        yield contrast(shards.gather(rows[first : first + _BATCH]))
