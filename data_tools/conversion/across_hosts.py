"""Conversion on several hosts that see the same folders: other hosts write shares, one host finishes.

This package does not depend on a cluster. The caller of `convert` may pass a `ShareRunner`, which runs `write_share`
with plain payloads on any hosts. The calling host completes the shares that they do not finish.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_tools.config import from_mapping, to_mapping
from data_tools.conversion.assemble import Recipe
from data_tools.conversion.one_pass import ConversionPass, OnProgress, plan_missing
from data_tools.conversion.shard_plan import ShardConfig, ShardPlan, work_of
from data_tools.conversion.staging import read_counts, receipt_path, remaining_work
from data_tools.cores import available_cores
from data_tools.documents.data_set import SPLITS, DataConfig
from data_tools.documents.paged import known_paged_data_set
from data_tools.documents.regions import Box
from data_tools.errors import UserError

_POLL_S = 2.0


@dataclass(frozen=True)
class ShareRunner:
    """Runs `write_share` on other hosts: `run` gets `shares` payloads and returns when all calls have ended."""

    shares: int
    run: Callable[[list[dict[str, Any]]], None]


@dataclass(frozen=True)
class Share:
    """The input of `write_share`; as plain data, it is the payload for another host.

    Paths are absolute. Share number `share` of `shares` writes every `shares`-th shard of the regions `missing` by
    split. `boxes` are (left, top, right, bottom) by region, in fractions of the page.
    """

    data: DataConfig
    shards: ShardConfig
    boxes: dict[str, tuple[float, float, float, float]]
    missing: dict[str, tuple[str, ...]]
    seed: int
    staging: str
    share: int
    shares: int


def run_shares(
    recipe: Recipe,
    data: DataConfig,
    *,
    missing: Mapping[str, Sequence[str]],
    staging: Path,
    share_runner: ShareRunner,
    progress: OnProgress | None,
) -> None:
    """Have the shards of the missing sets written in shares, and report progress from the staging folder."""
    first = Share(
        data=replace(data, **_absolute(data)),
        shards=recipe.shards,
        boxes={region: box.edges for region, box in recipe.boxes.items()},
        missing={split: tuple(regions) for split, regions in missing.items()},
        seed=recipe.seed,
        staging=str(staging.absolute()),
        share=0,
        shares=share_runner.shares,
    )
    payloads = [to_mapping(replace(first, share=share)) for share in range(share_runner.shares)]
    plans = plan_missing(recipe, missing)
    total = sum(len(plan.pages) for plan in plans)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(share_runner.run, payloads)
        while wait([running], _POLL_S).not_done:
            if progress is not None:
                progress(pages_written(staging, plans), total, 0)
        running.result()


def _absolute(data: DataConfig) -> dict[str, Any]:
    """The paths of `data` as absolute paths, for processes with another working directory."""
    names = ("root", "labels", *SPLITS, "class_names")
    paths = {name: getattr(data, name) for name in names if isinstance(getattr(data, name), str)}
    return {name: str(Path(path).absolute()) for name, path in paths.items()}


def pages_written(staging: Path, plans: Sequence[ShardPlan]) -> int:
    """Pages of complete shards. Lists one folder per split for any number of shards."""
    folders = {receipt_path(staging, plan).parent for plan in plans}
    receipts = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    return sum(len(plan.pages) for plan in plans if receipt_path(staging, plan) in receipts)


def write_share(payload: dict[str, Any]) -> dict[str, Any]:
    """Write the shards of a `Share` with all cores of this host; returns its counts of `pages` and `rejected` pages.

    Runs concurrently with other shares, under the lock of the conversion that requested it.

    Raises:
        UserError: this host does not see the pages, the label files or the shard folder.
    """
    share = from_mapping(Share, payload, where="share")
    if not Path(share.staging).is_dir():
        raise UserError(
            f"{Path(share.staging).parent}: not on this host; set shards.folder to storage that every host sees"
        )
    data, shards = share.data, share.shards
    boxes = {region: Box(*edges) for region, edges in share.boxes.items()}
    counts = read_counts(Path(share.staging)) or {}
    data_set = known_paged_data_set(data, seed=share.seed, counts=counts)
    recipe = Recipe(data_set, shards, boxes, share.seed, data.pdf_dpi)
    plans = plan_missing(recipe, share.missing)[share.share :: share.shares]
    work = work_of(data, share.staging, boxes=boxes, shards=shards)
    states = [remaining_work(work, plan) for plan in plans]
    pages = sum(len(plan.pages) for plan in plans)
    # Only the calling host knows whether too many pages are rejected.
    ConversionPass(work, states, max_rejected=pages).run(shards.workers or available_cores())
    return {"pages": pages, "rejected": sum(len(state.rejected) for state in states)}
