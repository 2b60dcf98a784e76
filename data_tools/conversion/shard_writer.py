"""The work of a conversion's worker processes: decode the pages of a shard once and write one file per region.

Runs in child processes of `workers.pool` only.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from data_tools.conversion.direct_file import DirectFile
from data_tools.conversion.page_notes import PageNote, notes_of
from data_tools.conversion.shard_plan import ShardPlan, Work
from data_tools.conversion.staging import (
    Receipt,
    RegionReceipt,
    RejectedPage,
    file_identity,
    receipt_path,
    shard_path,
    unfinished_path,
)
from data_tools.documents.document import open_document
from data_tools.documents.opencv import use_single_thread
from data_tools.documents.page_path import page_path, split_page_id
from data_tools.documents.pixels import PageError, Pixels, encode, fit
from data_tools.errors import UserError
from data_tools.files import write_json
from data_tools.labels.label import Label
from data_tools.shards.records import checksum, example, frame, image_start, written_checksum
from data_tools.workers.child import Handler, Items, limit_memory

_HEADROOM_BYTES = 4 * 2**30


def open_worker(work: Work) -> Handler:
    """The handler of a conversion's worker process: it writes the shard of each `ShardPlan` it receives."""
    use_single_thread()
    limit_memory(_HEADROOM_BYTES)
    background = ThreadPoolExecutor(1)

    def handle(plan: Any, items: Items) -> Any:
        return write_shard(work, plan, items, background=background)

    return handle


def write_shard(work: Work, plan: ShardPlan, items: Items, *, background: Executor) -> list[RejectedPage]:
    """Write a shard's file of every region, then its receipt; `background` writes while pages are decoded.

    Returns the rejected pages.

    Raises:
        UserError: the shard folder was deleted, or a page's link leads out of the data root.
        OSError: a file cannot be written.
    """
    staging = Path(work.staging)
    kept: list[tuple[str, int]] = []
    rejected: list[RejectedPage] = []
    notes: list[PageNote] = []
    with ExitStack() as stack:
        files = {name: stack.enter_context(_RegionFile(staging, plan, name, background)) for name in plan.regions}
        for item, (page_id, class_id) in enumerate(plan.pages):
            path = page_path(work.root, page_id, outside_links=work.outside_links)
            reason = items.begin(item)
            if reason is None:
                try:
                    page, found = _read(work, Label(page_id, class_id), path, split=plan.split)
                    images = encoded(page, plan.regions, work)
                    notes += found
                except PageError as error:
                    reason = str(error)
            items.end()
            if reason is not None:
                rejected.append({"page": page_id, "label": class_id, "reason": reason, "file": file_identity(path)})
                continue
            kept.append((page_id, class_id))
            for region, image in images.items():
                record = frame(*example(image, class_id, page_id.encode(), metadata_bytes=plan.metadata_bytes))
                files[region].append(record, image_bytes=len(image))
        regions = {name: file.finish() for name, file in files.items()}
    write_json(receipt_path(staging, plan), Receipt(kept=kept, rejected=rejected, notes=notes, regions=regions))
    return rejected


def _read(work: Work, label: Label, path: Path, *, split: str) -> tuple[Pixels, list[PageNote]]:
    """A page's pixels and the notes about it.

    Raises:
        PageError: the page cannot be read.
    """
    with open_document(path, color=work.shards.color, dpi=work.pdf_dpi) as document:
        page = document.read(split_page_id(label.page_id)[1])
        return page, notes_of(page, label, document, split=split, page_limit=work.page_limit)


def encoded(page: Pixels, regions: Sequence[str], work: Work) -> dict[str, bytes]:
    """The page's encoded images by region; `page` uint8 [h, w(, 3)]."""
    shards = work.shards
    return {
        region: encode(fit(page, work.regions[region], shards.height, shards.width), shards.encoding)
        for region in regions
    }


class _RegionFile:
    """The shard file of one region, under a temporary name until it is complete."""

    def __init__(self, staging: Path, plan: ShardPlan, region: str, background: Executor) -> None:
        """Create the file."""
        self._target = shard_path(staging, plan, region)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = unfinished_path(staging, plan, region)
        self._file = DirectFile(self._temporary, background=background)
        self._crc = self._written = 0
        self._offsets: list[int] = []
        self._lengths: list[int] = []

    def __enter__(self) -> "_RegionFile":
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file unless it is complete."""
        self._file.discard()
        self._temporary.unlink(missing_ok=True)

    def append(self, record: Sequence[bytes], *, image_bytes: int) -> None:
        """Append one record, given in pieces."""
        for piece in record:
            self._file.write(piece)
        self._crc = checksum(*record, before=self._crc)
        self._offsets.append(self._written + image_start(image_bytes))
        self._lengths.append(image_bytes)
        self._written += sum(map(len, record))

    def finish(self) -> RegionReceipt:
        """Sync and rename the file; returns its entry in the receipt.

        Raises:
            UserError: the shard folder was deleted.
        """
        if not self._file.close():
            raise UserError("the shard folder was deleted during the conversion; run the same command again")
        self._temporary.replace(self._target)
        crc = written_checksum(self._crc)
        return {"bytes": self._written, "crc32c": crc, "offsets": self._offsets, "lengths": self._lengths}
