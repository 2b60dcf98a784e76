"""The assignment of pages to shards: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from data_tools.documents.data_set import DataConfig, hashed
from data_tools.documents.page_path import OutsideLinks
from data_tools.documents.pages import DPI, page_limit
from data_tools.documents.regions import Box
from data_tools.errors import UserError
from data_tools.labels.label import Label
from data_tools.shards.records import FRAME_BYTES, min_metadata_bytes

Encoding = Literal["raw", "png", "jpeg"]

MIB = 2**20
MIN_PX = 8
MAX_PX = 8192
_SHARDS = 64
"""A set smaller than `shard_mib` allows is still split into this many shards, so that many cores can share the work."""
_MIN_SHARD_PAGES = 16
"""... as long as each shard keeps this many pages."""
STORED_SHARE: dict[Encoding, float] = {"raw": 1.0, "png": 0.27, "jpeg": 0.31}
"""Mean size of an encoded page as a share of its raw size: 200 RVL-CDIP pages at 256 x 256 gray, measured by
`bench/shard_encodings.py`; the table is in docs/shards.md."""
_RECORD_OVERHEAD_BYTES = FRAME_BYTES + 128
"""Framing, label and a page id of usual length."""


@dataclass(frozen=True)
class ShardConfig:
    """Geometry and encoding of the shard sets; section `shards` of the configuration.

    `height` and `width` are pixels. `workers` (processes; null: all cores) and `page_timeout_s` do not change the
    result, except that a page that takes longer than `page_timeout_s` seconds to read is rejected.
    """

    folder: str = "shards"
    height: int = 256
    width: int = 256
    encoding: Encoding = "raw"
    color: bool = False
    shard_mib: int = 32
    workers: int | None = None
    page_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if "://" in self.folder:
            raise UserError(
                f"folder: {self.folder} is not a local path; conversion writes to mounted file systems only; "
                f"`regionstack fetch {self.folder} DIR` copies existing shards"
            )
        for name in ("height", "width"):
            if not MIN_PX <= getattr(self, name) <= MAX_PX:
                raise UserError(f"{name}: {getattr(self, name)} pixels; must be {MIN_PX} to {MAX_PX}")
        if self.shard_mib < 1:
            raise UserError(f"shard_mib: {self.shard_mib} must be at least 1")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"workers: {self.workers} must be at least 1, or null for all cores")
        if self.page_timeout_s <= 0:
            raise UserError(f"page_timeout_s: {self.page_timeout_s} must be more than 0")

    @property
    def channels(self) -> int:
        """1 for gray, 3 for color (RGB)."""
        return 3 if self.color else 1

    @property
    def raw_bytes(self) -> int:
        """Bytes of one image before encoding."""
        return self.height * self.width * self.channels

    @property
    def record_bytes(self) -> int:
        """Expected mean bytes of a stored record."""
        return round(self.raw_bytes * STORED_SHARE[self.encoding]) + _RECORD_OVERHEAD_BYTES

    def written(self) -> dict[str, int | str | bool]:
        """The settings that determine the bytes of the shards."""
        return {
            "height": self.height,
            "width": self.width,
            "encoding": self.encoding,
            "color": self.color,
            "shard_mib": self.shard_mib,
        }


@dataclass(frozen=True)
class ShardPlan:
    """One shard of a split, the same for all `regions`: its pages in the order on disk.

    A shard is the unit of work: one process decodes its pages once and writes one file per region.
    `metadata_bytes` gives all records one length (see `records.example`); 0 if lengths may differ.
    """

    split: str
    number: int
    of: int
    pages: tuple[Label, ...]
    regions: tuple[str, ...]
    metadata_bytes: int

    @property
    def name(self) -> str:
        """The shard's file name."""
        return f"shard-{self.number:05d}-of-{self.of:05d}.tfrecord"


def plan_split(
    labels: Sequence[Label], split: str, *, seed: int, shards: ShardConfig, regions: Sequence[str]
) -> list[ShardPlan]:
    """The shards of `split`, pages ordered by a hash of seed and page id, sizes within one of each other.

    The plan does not depend on the number of processes, so that any number of them can resume a conversion.
    """
    labels = sorted(labels, key=lambda label: hashed(label.page_id, seed, "disk"))
    count = shard_count(len(labels), pages_per_shard=max(1, shards.shard_mib * MIB // shards.record_bytes))
    same_length = shards.encoding == "raw"
    metadata = max(min_metadata_bytes(label.class_id, label.page_id.encode()) for label in labels) if same_length else 0
    return [
        ShardPlan(split, number, count, pages, tuple(regions), metadata)
        for number, pages in enumerate(split_evenly(labels, count))
    ]


def shard_count(pages: int, *, pages_per_shard: int) -> int:
    """Number of shards for `pages`, none of them above `pages_per_shard`."""
    return max(1, -(-pages // pages_per_shard), min(_SHARDS, pages // _MIN_SHARD_PAGES))


def split_evenly(labels: Sequence[Label], count: int) -> list[tuple[Label, ...]]:
    """`labels` in `count` consecutive runs whose lengths differ by at most one."""
    bounds = [len(labels) * number // count for number in range(count + 1)]
    return [tuple(labels[start:end]) for start, end in pairwise(bounds)]


def work_of(data: DataConfig, staging: str, *, boxes: dict[str, Box], shards: ShardConfig) -> "Work":
    """The workers' input for the pages of `data`."""
    limit = page_limit(data.pages)
    return Work(data.root, staging, boxes, shards, data.outside_links, page_limit=limit, pdf_dpi=data.pdf_dpi)


@dataclass(frozen=True)
class Work:
    """The input of the worker processes: folders, boxes of all regions, and settings.

    page_limit: pages that are taken of a document, at most.
    """

    root: str
    staging: str
    regions: dict[str, Box]
    shards: ShardConfig
    outside_links: OutsideLinks = "refuse"
    page_limit: int = 1
    pdf_dpi: int = DPI
