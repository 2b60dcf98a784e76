"""The folder in which unfinished shards wait, and what an interrupted conversion has left in it."""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_tools.conversion.parts import file_identity, part_path, read_footer, receipt_path, shard_path
from data_tools.conversion.shard_plan import ShardPlan, Work
from data_tools.files import UNFINISHED, read_json

_PREFIX = f"{UNFINISHED}conversion-"


def open_staging(folder: Path, identity: Any) -> Path:
    """The staging folder of the conversion that `identity` (plain data) describes; others' are deleted."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    staging = folder / f"{_PREFIX}{key}"
    for other in folder.glob(f"{_PREFIX}*"):
        if other != staging:
            shutil.rmtree(other, ignore_errors=True)
    staging.mkdir(exist_ok=True)
    # Nobody writes now: the lock is ours, and worker processes die with their parent.
    for unfinished in staging.glob(f"*/*/{UNFINISHED}*"):
        unfinished.unlink()
    return staging


def remove_staging(folder: Path) -> None:
    """Delete what a finished conversion no longer needs."""
    for staging in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(staging, ignore_errors=True)


@dataclass
class ShardState:
    """Where one shard stands: parts still to write, and by part the pages set aside in those written."""

    plan: ShardPlan
    missing: set[int] = field(default_factory=set)
    rejected: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    whole: bool = False

    @property
    def pages_done(self) -> int:
        """Pages in parts that are written."""
        return sum(len(part) for number, part in enumerate(self.plan.parts) if number not in self.missing)

    def pages_rejected(self) -> list[dict[str, Any]]:
        """Pages set aside so far, in the order on disk."""
        return [page for part in sorted(self.rejected) for page in self.rejected[part]]


def remaining_work(work: Work, plan: ShardPlan) -> ShardState:
    """What is left of `plan` in the staging folder.

    Whatever holds a page that was set aside and whose file has changed since is made again.
    """
    staging = Path(work.staging)
    receipt = read_receipt(staging, plan)
    if receipt is not None and not _mended(work, receipt["rejected"]):
        return ShardState(plan, rejected={0: receipt["rejected"]}, whole=True)
    receipt_path(staging, plan).unlink(missing_ok=True)
    progress = ShardState(plan)
    for number in range(len(plan.parts)):
        footer = read_footer(part_path(staging, plan, number))
        if footer and set(plan.regions) <= set(footer["sizes"]) and not _mended(work, footer["rejected"]):
            progress.rejected[number] = footer["rejected"]
        else:
            progress.missing.add(number)
    return progress


def read_receipt(staging: Path, plan: ShardPlan) -> dict[str, Any] | None:
    """The receipt of a whole shard, or None where one of its files is missing."""
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


def _mended(work: Work, rejected: list[dict[str, Any]]) -> bool:
    return any(file_identity(Path(work.root, page["page"])) != page["file"] for page in rejected)
