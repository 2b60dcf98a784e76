"""Pages without labels to shard sets of the same geometry as labelled ones; resumes interrupted conversions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_tools.conversion.assemble import REJECTED, Recipe, assemble, missing_regions, write_rejected
from data_tools.conversion.one_pass import ConversionPass, OnProgress, plan_missing
from data_tools.conversion.shard_plan import ShardConfig, Work
from data_tools.conversion.staging import open_staging, remaining_work, remove_staging
from data_tools.cores import available_cores
from data_tools.documents.data_set import DataSet
from data_tools.documents.page_counts import CountSetup, count_documents
from data_tools.documents.paged import require_pdf_reader
from data_tools.documents.pages import DPI, Pages, page_limit
from data_tools.documents.pixels import decoder_version
from data_tools.documents.regions import Box
from data_tools.errors import UserError
from data_tools.labels.label import Label
from data_tools.labels.page_id import join_page_id
from data_tools.shards.lock import locked
from data_tools.shards.manifest import Manifest, read_manifest

SPLIT = "train"
"""The split that the sets belong to by name; there is no other one in their folder."""


@dataclass(frozen=True)
class Reading:
    """How the files are read. pages: of a document, as `data.pages`. timeout_s: of a page."""

    pages: Pages = "first"
    pdf_dpi: int = DPI
    timeout_s: float = 30.0


def convert_unlabelled(
    documents: Sequence[str],
    *,
    root: Path,
    like: Sequence[Manifest],
    folder: Path,
    reading: Reading = Reading(),
    workers: int | None = None,
    progress: OnProgress | None = None,
) -> Manifest:
    """Write a set of the files `documents`, paths relative to `root`, into `folder`/train for each region of `like`.

    like: manifests of labelled sets, one a region, whose geometry and classes the new sets take. The label of each page
    is the first class, and means nothing. Pages that cannot be read are left out and listed in `rejected.jsonl`.
    Keeps complete sets. Returns the manifest of the first region.

    Raises:
        UserError: the sets in `folder` are of other pages, no page can be read, or the disk is full.
    """
    cores = workers or available_cores()
    counts = _counts(documents, root, reading, workers=cores)
    recipe = _recipe(documents, counts, like=like, folder=folder, reading=reading)
    with locked(recipe.folder):
        missing = missing_regions(recipe, SPLIT)
        if missing:
            _convert(recipe, missing, root=root, reading=reading, workers=cores, progress=progress)
        remove_staging(recipe.folder)
    found = read_manifest(folder / SPLIT / like[0].region)
    if not found.count:
        raise UserError(f"{root}: none of the {found.rejected} pages can be read; see {folder / REJECTED}")
    return found


def _counts(documents: Sequence[str], root: Path, reading: Reading, *, workers: int) -> dict[str, int]:
    if page_limit(reading.pages) == 1:
        return {}
    setup = CountSetup(str(root), "follow")
    return count_documents(setup, list(documents), workers=workers, timeout_s=reading.timeout_s)


def _recipe(
    documents: Sequence[str], counts: dict[str, int], *, like: Sequence[Manifest], folder: Path, reading: Reading
) -> Recipe:
    first, limit = like[0], page_limit(reading.pages)
    nothing = first.class_ids[0]
    labels = [
        Label(join_page_id(document, number, several=counts.get(document, 1) > 1), nothing)
        for document in dict.fromkeys(documents)
        for number in range(1, min(counts.get(document, 1), limit) + 1)
    ]
    data_set = DataSet(
        {SPLIT: labels, "val": [], "test": []}, first.class_ids, first.class_names, (), allow_empty_classes=True
    )
    require_pdf_reader(data_set)
    shards = replace(_shard_config(first, folder), page_timeout_s=reading.timeout_s)
    return Recipe(data_set, shards, {one.region: Box(*one.box) for one in like}, first.seed, reading.pdf_dpi)


def _shard_config(like: Manifest, folder: Path) -> ShardConfig:
    """The settings that a set was made with, for sets in `folder`."""
    names = ("height", "width", "encoding", "color", "shard_mib")
    return ShardConfig(folder=str(folder), **{name: like.settings[name] for name in names})


def _convert(
    recipe: Recipe,
    missing: Sequence[str],
    *,
    root: Path,
    reading: Reading,
    workers: int,
    progress: OnProgress | None,
) -> None:
    staging = open_staging(recipe.folder, recipe.identity() | {"decoder": decoder_version()})
    limit = page_limit(reading.pages)
    work = Work(
        str(root), str(staging), recipe.boxes, recipe.shards, "follow", page_limit=limit, pdf_dpi=reading.pdf_dpi
    )
    plans = plan_missing(recipe, {SPLIT: missing})
    states = [remaining_work(work, plan) for plan in plans]
    # What a person collects without looking at it holds files that are no pages; they are counted, not refused.
    ConversionPass(work, states, max_rejected=len(recipe.data.labels[SPLIT]), progress=progress).run(workers)
    write_rejected(recipe.folder, states)
    for region in missing:
        assemble(recipe, staging, plans=plans, region=region)
