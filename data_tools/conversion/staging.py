"""The folder in which shards wait for the rest of their set, and what an interrupted conversion left there."""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_tools.conversion.shard_plan import ShardPlan, Work
from data_tools.files import UNFINISHED, read_json, temporary_name

_PREFIX = f"{UNFINISHED}conversion-"


def open_staging(folder: Path, identity: Any) -> Path:
    """The staging folder of the conversion that `identity` (plain data) describes; those of others are deleted."""
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


def remove_staging(folder: Path) -> None:
    """Delete what a finished conversion no longer needs."""
    for staging in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(staging, ignore_errors=True)


def shard_path(staging: Path, plan: ShardPlan, region: str) -> Path:
    """Where a complete shard waits for the rest of its set."""
    return staging / plan.split / region / plan.name


def unfinished_path(staging: Path, plan: ShardPlan, region: str) -> Path:
    """A fresh name for a shard that is being written, outside the folder that becomes the set."""
    return temporary_name(staging / plan.split / f"{region}-{plan.name}")


def receipt_path(staging: Path, plan: ShardPlan) -> Path:
    """The file that states that a shard is complete, and what it holds."""
    return staging / plan.split / "receipts" / f"{plan.number:05d}.json"


@dataclass
class ShardState:
    """How far one shard is: complete or not, and the pages that were rejected from it."""

    plan: ShardPlan
    complete: bool = False
    rejected: list[dict[str, Any]] = field(default_factory=list)


def remaining_work(work: Work, plan: ShardPlan) -> ShardState:
    """The state of `plan` in the staging folder.

    A shard with a rejected page whose file has changed since is written again.
    """
    receipt = read_receipt(Path(work.staging), plan)
    if receipt is None or any(
        file_identity(Path(work.root, page["page"])) != page["file"] for page in receipt["rejected"]
    ):
        receipt_path(Path(work.staging), plan).unlink(missing_ok=True)
        return ShardState(plan)
    return ShardState(plan, complete=True, rejected=receipt["rejected"])


def read_receipt(staging: Path, plan: ShardPlan) -> dict[str, Any] | None:
    """The receipt of a complete shard, or None where the receipt or one of the shard's files is missing."""
    path = receipt_path(staging, plan)
    if not path.exists():
        return None
    receipt: dict[str, Any] = read_json(path)
    for region in plan.regions:
        shard = shard_path(staging, plan, region)
        if region not in receipt["regions"] or not shard.exists():
            return None
        if shard.stat().st_size != receipt["regions"][region]["bytes"]:
            return None
    return receipt


def file_identity(path: Path) -> list[int] | None:
    """Size in bytes and time of the last change in ns, None without a file: shows whether a bad page was replaced."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
