"""What conversion's worker processes do: pages to parts, parts to shards. Runs in children of `pool` alone.

A part is one file with the records of some pages for every region, so that each page is decoded once; a
shard of one region is that region's sections of its parts, one after the other.
"""

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from data_tools.errors import UserError
from data_tools.files import fsync_folder, temporary_name, write_json
from data_tools.labels import Label
from data_tools.pages import PageError, Pixels, encode, fit, read_page, single_threaded
from data_tools.plan import ShardPlan, Work
from data_tools.pool_worker import Handler, Items, limit_memory
from data_tools.records import checksum, example, frame, image_start

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
    tail_bytes: int


def part_task(staging: Path, shard: ShardPlan, part: int) -> PartTask:
    """The task that writes part `part` of `shard`."""
    path = str(part_path(staging, shard, part))
    pages = shard.parts[part]
    return PartTask(shard.split, shard.number, part, path, pages, shard.regions, shard.tail_bytes)


@dataclass(frozen=True)
class ShardTask:
    """Join a shard's parts, for every region."""

    shard: ShardPlan


def open_worker(work: Work) -> Handler:
    """The handler that a conversion's worker serves; for its answers see `write_part` and `join_shard`."""
    single_threaded()
    limit_memory(_HEADROOM_BYTES)

    def handle(task: Any, items: Items) -> Any:
        if isinstance(task, PartTask):
            return write_part(work, task, items)
        return join_shard(work, task.shard)

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
    """Write one part; returns its rejected pages: `page`, `label`, `reason` and, for resumption, `stamp`."""
    regions = task.regions
    sections: dict[str, list[bytes]] = {region: [] for region in regions}
    sizes: dict[str, list[list[int]]] = {region: [] for region in regions}
    kept, rejected = [], []
    for item, (page_id, class_id) in enumerate(task.pages):
        path = Path(work.root, page_id)
        reason = items.begin(item)
        if reason is None:
            try:
                images = encoded(read_page(path, color=work.shards.color), regions, work)
            except PageError as error:
                reason = str(error)
        items.end()
        if reason is not None:
            rejected.append({"page": page_id, "label": class_id, "reason": reason, "stamp": stamp(path)})
            continue
        kept.append([page_id, class_id])
        for region, image in images.items():
            payload = example(image, class_id, page_id.encode(), tail_bytes=task.tail_bytes)
            record = frame(payload)
            sections[region].append(record)
            sizes[region].append([len(record), len(image)])
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


def stamp(path: Path) -> list[int] | None:
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
        for region, records in sections.items():
            section = b"".join(records)
            footer["crc"][region] = checksum(section)
            file.write(section)
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


def join_shard(work: Work, shard: ShardPlan) -> list[int]:
    """Write the shard of every region from its parts, then the receipt, then delete the parts.

    Returns the numbers of parts that are damaged and must be made again; the shard is whole where there are
    none.
    """
    staging = Path(work.staging)
    paths = [part_path(staging, shard, part) for part in range(len(shard.parts))]
    footers = [read_footer(path) for path in paths]
    damaged = [part for part, footer in enumerate(footers) if footer is None]
    if damaged:
        return damaged
    whole = [footer for footer in footers if footer is not None]
    receipt: dict[str, Any] = {
        "kept": [page for footer in whole for page in footer["kept"]],
        "rejected": [page for footer in whole for page in footer["rejected"]],
        "regions": {},
    }
    for region in shard.regions:
        noted, damaged = _join_region(shard_path(staging, shard, region), paths, whole, region)
        if damaged:
            return damaged
        receipt["regions"][region] = noted
    write_json(receipt_path(staging, shard), receipt)
    for path in paths:
        path.unlink(missing_ok=True)
    return []


def _join_region(
    target: Path, paths: list[Path], footers: list[dict[str, Any]], region: str
) -> tuple[dict[str, Any], list[int]]:
    """Write one region's shard; returns what to note of it, and the first damaged part, if any."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    digest, written = hashlib.sha256(), 0
    offsets: list[int] = []
    lengths: list[int] = []
    with temporary.open("wb") as file:
        for part, (path, footer) in enumerate(zip(paths, footers, strict=True)):
            sizes = footer["sizes"][region]
            section = _read_section(path, footer, region)
            if checksum(section) != footer["crc"][region]:
                temporary.unlink()
                path.unlink(missing_ok=True)
                return {}, [part]
            digest.update(section)
            file.write(section)
            for record, image in sizes:
                offsets.append(written + image_start(image))
                lengths.append(image)
                written += record
        _to_disk(file)
    temporary.replace(target)
    fsync_folder(target.parent)
    noted = {"bytes": written, "sha256": digest.hexdigest(), "offsets": offsets, "lengths": lengths}
    return noted, []


def _read_section(path: Path, footer: dict[str, Any], region: str) -> bytes:
    lengths = {name: sum(record for record, _ in sizes) for name, sizes in footer["sizes"].items()}
    before = list(lengths)[: list(lengths).index(region)]
    try:
        with path.open("rb") as file:
            file.seek(sum(lengths[name] for name in before))
            return file.read(lengths[region])
    except FileNotFoundError:
        return b""  # Gone since its footer was read; the checksum will say so.


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    if os.fstat(file.fileno()).st_nlink == 0:
        raise UserError("the shard folder was deleted while it was written")
