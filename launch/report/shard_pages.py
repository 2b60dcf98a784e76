"""Reads class names, page counts and test pages from a run's shards, if these are readable from here."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE
from data_tools.errors import UserError
from data_tools.files import read_object, write_atomically
from launch.report.schema import SplitSize
from launch.run.model import names_in, shard_folders
from launch.run.record import RunRecord
from trainer.job_folder.corrections import corrections_record

KEPT = "pages"
"""Folder in the run's `pictures/` that keeps shown pages for later reports without shards."""

MAX_PX = 256
"""Longer side of a page's picture."""


def find_shard_set(record: RunRecord, split: str = "test") -> Path | None:
    """Folder of the holistic shard set of `split`; None if it is not readable from here."""
    settings = record.config.get("shards")
    configured = settings.get("folder") if isinstance(settings, dict) else None
    named = [name for name in (record.run.get("shards"), configured) if isinstance(name, str)]
    for folder in shard_folders(record.folder, named):
        found = folder / split / HOLISTIC
        if (found / "manifest.json").is_file():
            return found
    return None


def data_set(record: RunRecord) -> dict[str, SplitSize]:
    """Pages and rejected pages by split, from the shard sets that are readable from here."""
    found: dict[str, SplitSize] = {}
    kept = corrections_record(record.folder)
    corrections = kept.get("splits") if kept else None
    for split in ("train", "val", "test"):
        folder = find_shard_set(record, split)
        manifest = read_object(folder / "manifest.json") if folder else {}
        if isinstance(manifest.get("count"), int):
            excluded = (corrections or {}).get(split, {}).get("exclude", 0)
            found[split] = {"pages": manifest["count"] - excluded, "rejected": int(manifest.get("rejected", 0))}
    return found


def class_names(record: RunRecord) -> dict[int, str]:
    """Names by class id, from the run's record, the shards, or the last report; empty if none has them."""
    sources: list[Any] = [record.run.get("classes")]
    found = find_shard_set(record)
    for path in (*([found / "manifest.json"] if found else []), record.folder / "metrics.json"):
        value = read_object(path)
        ids, names = value.get("class_ids"), value.get("class_names")
        if isinstance(ids, list) and isinstance(names, list):
            value = {"classes": [{"id": i, "name": name} for i, name in zip(ids, names, strict=False)]}
        sources.append(value.get("classes"))
    for entries in sources:
        if named := names_in(entries):
            return named
    return {}


def page_pictures(record: RunRecord, ids: Sequence[str], *, keep: bool = True) -> dict[str, bytes]:
    """PNGs by page id, for those of `ids` that are in the test shard set or that an earlier report has kept.

    keep: also write those of the shards into the run folder, for reports without shards.
    """
    kept = record.folder / "pictures" / KEPT
    found = _from_shards(record, ids)
    for page_id, png in found.items() if keep else ():
        write_atomically(kept / _file_name(page_id), png)
    for page_id in ids:
        path = kept / _file_name(page_id)
        if page_id not in found and path.is_file():
            found[page_id] = path.read_bytes()
    return found


def _from_shards(record: RunRecord, ids: Sequence[str]) -> dict[str, bytes]:
    folder = find_shard_set(record)
    if folder is None:
        return {}
    from data_tools.shards.reader import ShardSet

    try:
        shards = ShardSet.open(folder)
        places = {page_id: place for place, page_id in enumerate(shards.ids.tolist())}
        wanted = [page_id for page_id in ids if page_id in places]
        images = shards.gather(np.array([places[page_id] for page_id in wanted], dtype=np.int64)) if wanted else ()
    except (UserError, OSError):
        return {}
    return {page_id: png_of(image) for page_id, image in zip(wanted, images, strict=True)}


def png_of(image: NDArray[np.uint8], *, max_px: int = MAX_PX) -> bytes:
    """A page, uint8[h, w, 1 or 3] or [h, w], as a PNG of at most `max_px` pixels per side."""
    from data_tools.documents.pixels import encode, fit

    height, width = image.shape[:2]
    scale = min(1.0, max_px / max(height, width))
    return encode(fit(image, WHOLE_PAGE, max(1, round(height * scale)), max(1, round(width * scale))), "png")


def _file_name(page_id: str) -> str:
    return hashlib.sha256(page_id.encode()).hexdigest()[:16] + ".png"
