"""What conversion's worker processes do: pages to parts. Runs in children of `pool` alone.

A part is one file with the records of some pages for every region, so that each page is decoded once; a
shard of one region is that region's sections of its parts, one after the other.
"""

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.conversion.shard_plan import ShardPlan, Work
from data_tools.documents.labels import Label
from data_tools.documents.opencv import use_single_thread
from data_tools.documents.page_path import page_path
from data_tools.documents.pixels import PageError, Pixels, encode, fit, read_page
from data_tools.files import temporary_name
from data_tools.shards.records import checksum, example, frame
from data_tools.workers.child import Handler, Items, limit_memory

_HEADROOM_BYTES = 4 * 2**30
_FOOTER = struct.Struct("<QI8s")
_MAGIC = b"regpart1"


@dataclass(frozen=True)
class PartTask:
    """Write one part: shard `number` of `split`, its `pages` cut into `regions`."""

    split: str
    number: int
    part: int
    path: str
    pages: tuple[Label, ...]
    regions: tuple[str, ...]
    metadata_bytes: int


def part_task(staging: Path, shard: ShardPlan, part: int) -> PartTask:
    """The task that writes part `part` of `shard`."""
    path = str(part_path(staging, shard, part))
    pages = shard.parts[part]
    return PartTask(shard.split, shard.number, part, path, pages, shard.regions, shard.metadata_bytes)


def open_worker(work: Work) -> Handler:
    """The handler that a conversion's worker serves: parts are written, see `write_part`."""
    use_single_thread()
    limit_memory(_HEADROOM_BYTES)

    def handle(task: Any, items: Items) -> Any:
        return write_part(work, task, items)

    return handle


def part_path(staging: Path, shard: ShardPlan, part: int) -> Path:
    """Where a part lies until its shard is whole."""
    return staging / shard.split / "parts" / f"{shard.number:05d}-{part:05d}.part"


def receipt_path(staging: Path, shard: ShardPlan) -> Path:
    """Where it is noted that a shard is whole, and what is in it."""
    return staging / shard.split / "receipts" / f"{shard.number:05d}.json"


def shard_path(staging: Path, shard: ShardPlan, region: str) -> Path:
    """Where a whole shard waits for the rest of its set."""
    return staging / shard.split / region / shard.name


def write_part(work: Work, task: PartTask, items: Items) -> list[dict[str, Any]]:
    """Write one part; returns its rejected pages as `page`, `label`, `reason` and `file`, see `file_identity`."""
    regions = task.regions
    sections: dict[str, list[bytes]] = {region: [] for region in regions}
    sizes: dict[str, list[list[int]]] = {region: [] for region in regions}
    kept, rejected = [], []
    for item, (page_id, class_id) in enumerate(task.pages):
        path = page_path(work.root, page_id, outside_links=work.outside_links)
        reason = items.begin(item)
        if reason is None:
            try:
                images = encoded(read_page(path, color=work.shards.color), regions, work)
            except PageError as error:
                reason = str(error)
        items.end()
        if reason is not None:
            rejected.append({"page": page_id, "label": class_id, "reason": reason, "file": file_identity(path)})
            continue
        kept.append([page_id, class_id])
        for region, image in images.items():
            record = frame(*example(image, class_id, page_id.encode(), metadata_bytes=task.metadata_bytes))
            sections[region] += record
            sizes[region].append([sum(map(len, record)), len(image)])
    footer = {"kept": kept, "rejected": rejected, "sizes": sizes}
    _write_sections(Path(task.path), sections, footer)
    return rejected


def encoded(page: Pixels, regions: Sequence[str], work: Work) -> dict[str, bytes]:
    """The page's image bytes for every region."""
    shards = work.shards
    return {
        region: encode(fit(page, work.regions[region], shards.height, shards.width), shards.encoding)
        for region in regions
    }


def file_identity(path: Path) -> list[int] | None:
    """Size and time of a file's last change, None without a file: tells whether a bad page was mended."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _write_sections(path: Path, sections: dict[str, list[bytes]], footer: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with temporary.open("wb") as file:
        footer["crc"] = {}
        for region, pieces in sections.items():
            footer["crc"][region] = checksum(*pieces)
            file.writelines(pieces)
        raw = json.dumps(footer).encode()
        file.write(raw + _FOOTER.pack(len(raw), checksum(raw), _MAGIC))
    # Without fsync: what a power cut leaves of a part is found by its checksums, and the part is made again.
    temporary.replace(path)


def read_footer(path: Path) -> dict[str, Any] | None:
    """What a part holds, or None where there is no whole part."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _FOOTER.size))
            tail = file.read()
            if len(tail) < _FOOTER.size:
                return None
            length, crc, magic = _FOOTER.unpack(tail)
            if magic != _MAGIC or length > size - _FOOTER.size:
                return None
            file.seek(size - _FOOTER.size - length)
            raw = file.read(length)
    except FileNotFoundError:
        return None
    if checksum(raw) != crc:
        return None
    footer: dict[str, Any] = json.loads(raw)
    records = sum(record for sizes in footer["sizes"].values() for record, _ in sizes)
    return footer if records + length + _FOOTER.size == size else None
