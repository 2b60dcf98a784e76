"""The staging folder of incomplete shard sets, and the work that remains after an interruption."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from data_tools.conversion.page_notes import PageNote
from data_tools.conversion.shard_plan import ShardPlan, Work
from data_tools.documents.page_path import document_of
from data_tools.files import UNFINISHED, read_json, temporary_name, write_json

COUNTS = "documents.json"
_PREFIX = f"{UNFINISHED}conversion-"


def open_staging(folder: Path, identity: Any) -> Path:
    """Create or reuse the staging folder of the conversion `identity` (plain data); deletes those of others."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    staging = folder / f"{_PREFIX}{key}"
    for other in folder.glob(f"{_PREFIX}*"):
        if other != staging:
            shutil.rmtree(other, ignore_errors=True)
    staging.mkdir(exist_ok=True)
    # No process writes now: this one holds the lock, and worker processes die with their parent.
    for unfinished in (*staging.glob(f"*/{UNFINISHED}*"), *staging.glob(f"*/*/{UNFINISHED}*")):
        unfinished.unlink()
    return staging


def has_leftovers(folder: Path) -> bool:
    """Whether an earlier process has left something unfinished in the folder."""
    return any(folder.glob(f"{UNFINISHED}*"))


def write_counts(folder: Path, counts: Mapping[str, int]) -> None:
    """Write the pages of documents that have several, so that other hosts and later calls need not count them."""
    write_json(folder / COUNTS, dict(counts))


def read_counts(folder: Path) -> dict[str, int] | None:
    """What `write_counts` wrote; None if it did not."""
    path = folder / COUNTS
    return dict(read_json(path)) if path.exists() else None


def remove_staging(folder: Path) -> None:
    """Delete all staging folders."""
    for staging in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(staging, ignore_errors=True)


def shard_path(staging: Path, plan: ShardPlan, region: str) -> Path:
    """Path of a complete shard until its set is complete."""
    return staging / plan.split / region / plan.name


def unfinished_path(staging: Path, plan: ShardPlan, region: str) -> Path:
    """A new temporary name for a shard, outside the folder that becomes the set.

    Deletes what earlier processes left of the shard, so pages that crash the decoder do not fill the disk.
    """
    folder, name = staging / plan.split, f"{region}-{plan.name}"
    for leftover in folder.glob(f"{UNFINISHED}{name}-*"):
        leftover.unlink(missing_ok=True)
    return temporary_name(folder / name)


def receipt_path(staging: Path, plan: ShardPlan) -> Path:
    """Path of the receipt, which marks a shard as complete and lists its content."""
    return staging / plan.split / "receipts" / f"{plan.number:05d}.json"


class RejectedPage(TypedDict):
    """A page that cannot be used: page id, class id, reason, and the identity of its file (see `file_identity`)."""

    page: str
    label: int
    reason: str
    file: list[int] | None


class RegionReceipt(TypedDict):
    """One region's shard file: size, CRC-32C, and byte offset and length of each image."""

    bytes: int
    crc32c: str
    offsets: list[int]
    lengths: list[int]


class Receipt(TypedDict):
    """Content of a complete shard: pages as [page id, class id], rejected pages, notes, and the files by region."""

    kept: list[tuple[str, int]]
    rejected: list[RejectedPage]
    notes: list[PageNote]
    regions: dict[str, RegionReceipt]


@dataclass
class ShardState:
    """State of one shard: whether it is complete, and its rejected pages."""

    plan: ShardPlan
    complete: bool = False
    rejected: list[RejectedPage] = field(default_factory=list)


def remaining_work(work: Work, plan: ShardPlan) -> ShardState:
    """The state of `plan` in the staging folder.

    A shard is incomplete again if the file of a rejected page has changed.
    """
    receipt = read_receipt(Path(work.staging), plan)
    if receipt is None or any(
        file_identity(Path(work.root, document_of(page["page"]))) != page["file"] for page in receipt["rejected"]
    ):
        receipt_path(Path(work.staging), plan).unlink(missing_ok=True)
        return ShardState(plan)
    return ShardState(plan, complete=True, rejected=receipt["rejected"])


def read_receipt(staging: Path, plan: ShardPlan) -> Receipt | None:
    """The receipt of a complete shard, or None if the receipt or one of the shard's files is missing."""
    path = receipt_path(staging, plan)
    if not path.exists():
        return None
    receipt: Receipt = read_json(path)
    for region in plan.regions:
        shard = shard_path(staging, plan, region)
        if region not in receipt["regions"] or not shard.exists():
            return None
        if shard.stat().st_size != receipt["regions"][region]["bytes"]:
            return None
    return receipt


def file_identity(path: Path) -> list[int] | None:
    """Size (bytes) and modification time (ns) of a file, None if it is missing; shows whether a page was replaced."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
