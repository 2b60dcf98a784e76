"""Which page goes to which shard, and how shards are cut into parts: arithmetic, without touching a disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from data_tools.documents.data_set import hashed
from data_tools.documents.labels import Label
from data_tools.documents.page_path import OutsideLinks
from data_tools.documents.regions import Box
from data_tools.errors import UserError
from data_tools.shards.records import FRAME_BYTES, min_metadata_bytes

Encoding = Literal["raw", "png", "jpeg"]

MIB = 2**20
MIN_PX = 8
MAX_PX = 8192
_PART_PAGES = 64
_LEAST_PART_PAGES = 8
_PART_BYTES = 64 * MIB
_PARTS = 256
STORED_SHARE: dict[Encoding, float] = {"raw": 1.0, "png": 0.27, "jpeg": 0.31}
"""Mean size of an encoded page as a share of its raw size: 200 RVL-CDIP pages at 256 x 256 gray, measured by
`bench/shard_encodings.py`; the table is in docs/shards.md."""
_RECORD_OVERHEAD_BYTES = FRAME_BYTES + 128
"""Framing, label and a page id of usual length."""


@dataclass(frozen=True)
class ShardConfig:
    """Geometry and encoding of the shard sets; section `shards` of the configuration.

    `workers` (processes; null: all cores) and `page_timeout_s` do not change what is written. A page that
    takes longer than `page_timeout_s` to read is set aside.
    """

    folder: str = "shards"
    height: int = 256
    width: int = 256
    encoding: Encoding = "raw"
    color: bool = False
    shard_mib: int = 128
    workers: int | None = None
    page_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if "://" in self.folder:
            raise UserError(
                f"folder: {self.folder} is no local path; `regionstack fetch {self.folder} DIR` brings shards near, "
                "and conversion writes to mounted file systems alone"
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
        """1 for gray, 3 for colour (RGB)."""
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
        """The settings that decide on what is written."""
        return {
            "height": self.height,
            "width": self.width,
            "encoding": self.encoding,
            "color": self.color,
            "shard_mib": self.shard_mib,
        }


@dataclass(frozen=True)
class ShardPlan:
    """One shard of a split, of all `regions` alike: its pages in the order on disk, cut into parts.

    `metadata_bytes` levels the records' lengths (see `records.example`); 0 where they may differ.
    """

    split: str
    number: int
    of: int
    parts: tuple[tuple[Label, ...], ...]
    regions: tuple[str, ...]
    metadata_bytes: int

    @property
    def name(self) -> str:
        """The shard's file name."""
        return f"shard-{self.number:05d}-of-{self.of:05d}.tfrecord"

    @property
    def pages(self) -> int:
        """Pages planned; those that turn out to be unusable are left out."""
        return sum(len(part) for part in self.parts)


def plan_split(
    labels: Sequence[Label], split: str, *, seed: int, shards: ShardConfig, regions: Sequence[str]
) -> list[ShardPlan]:
    """The shards of `split`, pages ordered by a hash of seed and page id, sizes within one of each other."""
    labels = sorted(labels, key=lambda label: hashed(label.page_id, seed, "disk"))
    count = -(-len(labels) // max(1, shards.shard_mib * MIB // shards.record_bytes))
    size = part_pages(len(labels), len(regions) * shards.raw_bytes)
    level = shards.encoding == "raw"
    tail = max(min_metadata_bytes(label.class_id, label.page_id.encode()) for label in labels) if level else 0
    return [
        ShardPlan(split, number, count, chunk(pages, size), tuple(regions), tail)
        for number, pages in enumerate(split_evenly(labels, count))
    ]


def split_evenly(labels: Sequence[Label], count: int) -> list[tuple[Label, ...]]:
    """`labels` in `count` runs whose lengths differ by one at most."""
    bounds = [len(labels) * number // count for number in range(count + 1)]
    return [tuple(labels[start:end]) for start, end in pairwise(bounds)]


def chunk(labels: tuple[Label, ...], size: int) -> tuple[tuple[Label, ...], ...]:
    """`labels` in parts of `size`, the last one shorter."""
    return tuple(labels[start : start + size] for start in range(0, len(labels), size))


def part_pages(pages: int, page_bytes: int) -> int:
    """Pages in a part, the unit of work that is lost when a process dies.

    Few enough to keep many cores busy with a small set, and to be held in memory. The number of workers
    does not matter, so that any number may continue.
    """
    wanted = max(_LEAST_PART_PAGES, min(_PART_PAGES, pages // _PARTS))
    return max(1, min(wanted, _PART_BYTES // page_bytes))


@dataclass(frozen=True)
class Work:
    """Everything that a worker process needs to know to write parts and shards, of all regions at once."""

    root: str
    staging: str
    regions: dict[str, Box]
    shards: ShardConfig
    outside_links: OutsideLinks = "refuse"
