"""Pages to shard sets: plan, run worker processes, assemble; resumes interrupted conversions."""

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_tools.conversion.across_hosts import ShareRunner, run_shares
from data_tools.conversion.assemble import (
    Recipe,
    assemble,
    complete_receipt,
    is_complete,
    label_warnings_written,
    missing_regions,
    write_label_warnings,
    write_rejected,
)
from data_tools.conversion.one_pass import ConversionPass, OnProgress, TooManyRejected, plan_missing
from data_tools.conversion.page_notes import PageNote, read_page_notes, write_page_notes
from data_tools.conversion.shard_plan import ShardConfig, work_of
from data_tools.conversion.staging import (
    ShardState,
    has_leftovers,
    open_staging,
    read_counts,
    remaining_work,
    remove_staging,
    write_counts,
)
from data_tools.cores import available_cores
from data_tools.documents.data_set import SPLITS, DataConfig, LabelWarning
from data_tools.documents.paged import PagedDataSet, known_paged_data_set, read_paged_data_set
from data_tools.documents.pages import page_limit
from data_tools.documents.pixels import decoder_version
from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE, Box, check_name
from data_tools.errors import UserError
from data_tools.shards.lock import locked
from data_tools.shards.manifest import MANIFEST, read_manifest

__all__ = ["ConversionSummary", "DataConfig", "ShardConfig", "ShareRunner", "convert"]


@dataclass(frozen=True)
class ConversionSummary:
    """Result of a conversion. `written` and `kept` are names of sets, `split/region`; `pages` counts all splits.

    page_notes: pages that are nearly black or blank, and documents of which pages were left out.
    """

    folder: Path
    pages: int
    rejected: int
    written: tuple[str, ...]
    kept: tuple[str, ...]
    label_warnings: tuple[LabelWarning, ...]
    seconds: float
    page_notes: tuple[PageNote, ...] = ()


def convert(
    data: DataConfig,
    shards: ShardConfig,
    *,
    regions: dict[str, Box],
    seed: int,
    workers: int | None = None,
    progress: OnProgress | None = None,
    share_runner: ShareRunner | None = None,
) -> ConversionSummary:
    """Write a shard set for each split and region, including the whole page (`holistic`). Keeps complete sets.

    The same arguments give the same bytes for any number of `workers` (default: `shards.workers`, or all cores), any
    `share_runner`, and any interruptions.

    Raises:
        UserError: invalid labels, too many rejected pages, sets with other settings in the folder, or a full disk.
    """
    started = time.monotonic()
    boxes = {HOLISTIC: WHOLE_PAGE} | regions
    for region in boxes:
        check_name(region)
    cores = workers or shards.workers or available_cores()
    paged = _paged(data, Path(shards.folder), list(boxes), seed=seed, workers=cores)
    recipe = Recipe(paged.data_set, shards, boxes, seed, data.pdf_dpi)
    if is_complete(recipe) and not _can_tidy(recipe):
        # Nothing is written, not even a lock: the shards may be a colleague's, or on a read-only mount.
        missing = {split: missing_regions(recipe, split) for split in SPLITS}
        return _summary(recipe, missing, seconds=time.monotonic() - started)
    with locked(recipe.folder):
        missing = {split: missing_regions(recipe, split) for split in SPLITS}
        if any(missing.values()):
            staging = open_staging(recipe.folder, recipe.identity() | {"decoder": decoder_version()})
            write_counts(staging, paged.counts)
            if page_limit(data.pages) > 1:
                # Before the sets, so that it is there as soon as they are complete.
                write_counts(recipe.folder, paged.counts)
            if share_runner is not None:
                run_shares(recipe, data, missing=missing, staging=staging, share_runner=share_runner, progress=progress)
            _convert_missing(recipe, data, missing=missing, staging=staging, workers=cores, progress=progress)
        # Even if nothing is missing: an earlier call may have been killed just before this.
        remove_staging(recipe.folder)
        write_label_warnings(recipe)
        return _summary(recipe, missing, seconds=time.monotonic() - started)


def _paged(data: DataConfig, folder: Path, regions: Sequence[str], *, seed: int, workers: int) -> PagedDataSet:
    """The data set with its pages; of complete shards, the pages of documents are those that they were made of."""
    complete = all((folder / split / region / MANIFEST).exists() for split in SPLITS for region in regions)
    counts = read_counts(folder) if complete and page_limit(data.pages) > 1 else None
    if counts is None:
        return read_paged_data_set(data, seed=seed, workers=workers)
    return PagedDataSet(known_paged_data_set(data, seed=seed, counts=counts), counts)


def _can_tidy(recipe: Recipe) -> bool:
    """Whether an earlier call has left something to finish beside complete sets, and this user may."""
    return os.access(recipe.folder, os.W_OK) and (has_leftovers(recipe.folder) or not label_warnings_written(recipe))


def _summary(recipe: Recipe, missing: dict[str, tuple[str, ...]], *, seconds: float) -> ConversionSummary:
    names = [(split, region) for split in SPLITS for region in recipe.boxes]
    return ConversionSummary(
        folder=recipe.folder,
        pages=sum(len(recipe.data.labels[split]) for split in SPLITS),
        rejected=sum(read_manifest(recipe.folder / split / HOLISTIC).rejected for split in SPLITS),
        written=tuple(f"{split}/{region}" for split, region in names if region in missing[split]),
        kept=tuple(f"{split}/{region}" for split, region in names if region not in missing[split]),
        label_warnings=recipe.data.label_warnings,
        seconds=seconds,
        page_notes=tuple(read_page_notes(recipe.folder)),
    )


def _convert_missing(
    recipe: Recipe,
    data: DataConfig,
    *,
    missing: dict[str, tuple[str, ...]],
    staging: Path,
    workers: int,
    progress: OnProgress | None,
) -> None:
    """Write the missing sets; each page is decoded once for all of them."""
    work = work_of(data, str(staging), boxes=recipe.boxes, shards=recipe.shards)
    plans = plan_missing(recipe, missing)
    states = [remaining_work(work, plan) for plan in plans]
    _refuse_small_disk(recipe, states)
    allowed = data.rejects_allowed(sum(len(plan.pages) for plan in plans))
    try:
        ConversionPass(work, states, max_rejected=allowed, progress=progress).run(workers)
    except TooManyRejected:
        write_rejected(recipe.folder, states)
        raise
    write_rejected(recipe.folder, states)
    notes = [note for plan in plans for note in complete_receipt(staging, plan)["notes"]]
    write_page_notes(recipe.folder, notes, splits=[split for split, regions in missing.items() if regions])
    for split, regions in missing.items():
        for region in regions:
            assemble(recipe, staging, plans=[plan for plan in plans if plan.split == split], region=region)


def _refuse_small_disk(recipe: Recipe, states: Iterable[ShardState]) -> None:
    """Check that raw shards fit on the disk; encoded sizes are not known in advance."""
    shards = recipe.shards
    if shards.encoding != "raw":
        return
    needed = shards.raw_bytes * sum(
        len(state.plan.pages) * len(state.plan.regions) for state in states if not state.complete
    )
    free = shutil.disk_usage(recipe.folder).free
    if needed > free:
        raise UserError(
            f"{recipe.folder}: {needed / 2**30:.1f} GiB of shards do not fit in {free / 2**30:.1f} GiB of free "
            "space; make room, or choose another shards.folder"
        )
