"""Whole shards from parts, while later parts are still being written: copied in order, synced, noted in a receipt.

It is done by threads of the conversion's own process: copying and syncing leave the interpreter free, and no
worker that could decode a page waits for a disk.
"""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_tools.conversion.direct_file import DirectFile
from data_tools.conversion.parts import part_path, read_footer, receipt_path, shard_path
from data_tools.conversion.shard_plan import ShardPlan
from data_tools.conversion.staging import ShardState
from data_tools.errors import UserError
from data_tools.files import fsync_folder, temporary_name, write_json
from data_tools.shards.records import PIECE_BYTES, checksum, image_start, written_checksum

_DELETED = "the shard folder was deleted while it was written"
_THREADS = 4
"""Shards that are joined at once; one thread copies what some thirty cores decode."""


class Joiner:
    """Joins the shards of a conversion as their parts come. Use as a context: on leaving it no thread is left."""

    def __init__(self, staging: Path) -> None:
        """`staging`: where parts lie, and where shards wait for the rest of their set."""
        self._staging = staging
        self._threads = ThreadPoolExecutor(_THREADS)
        self._shards: dict[tuple[str, int], _Shard] = {}
        self._running: dict[Future[int | None], ShardState] = {}
        self._stop = False

    def __enter__(self) -> "Joiner":
        """The joiner itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop between two parts, and delete what is not whole."""
        self._stop = True
        self._threads.shutdown(cancel_futures=True)
        for shard in self._shards.values():
            shard.discard()

    def advance(self, state: ShardState) -> None:
        """Append what is there of the shard of `state`, up to its first missing part."""
        if state.whole or any(other is state for other in self._running.values()):
            return
        ready = min(state.missing, default=len(state.plan.parts))
        key = (state.plan.split, state.plan.number)
        shard = self._shards.get(key) or self._shards.setdefault(key, _Shard(self._staging, state.plan))
        if shard.joined < ready or not state.missing:
            self._running[self._threads.submit(self._join, shard, ready)] = state

    def _join(self, shard: "_Shard", ready: int) -> int | None:
        while shard.joined < ready and not self._stop:
            damaged = shard.append()
            if damaged is not None:
                return damaged
        if not self._stop:
            if ready == len(shard.plan.parts):
                shard.finish()
            else:
                shard.sync()
        return None

    def results(self, *, block: bool = False) -> Iterator[tuple[ShardState, int | None]]:
        """Shards that were advanced, each with the number of its damaged part, which is deleted and must be made again.

        A shard without one is whole now where none of its parts was missing. `block`: wait until there is a result.

        Raises:
            UserError: a file cannot be written, or the shard folder is gone.
        """
        if block and self._running:
            wait(self._running, return_when=FIRST_COMPLETED)
        for join in [join for join in self._running if join.done()]:
            state = self._running.pop(join)
            try:
                damaged = join.result()
            except OSError as error:
                where = error.filename2 or error.filename or self._staging.parent
                raise UserError(
                    f"{where}: {error.strerror}; mend it and run the same command again: it continues"
                ) from None
            state.whole = self._shards[state.plan.split, state.plan.number].finished
            yield state, damaged


@dataclass
class _Region:
    """One region's unfinished shard, and what the receipt will say of it."""

    target: Path
    temporary: Path
    file: DirectFile
    crc: int = 0
    written: int = 0
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def append(self, path: Path, footer: dict[str, Any], region: str) -> bool:
        """Append the region's section of a part; False where that is not what was written."""
        lengths = {name: sum(record for record, _ in sizes) for name, sizes in footer["sizes"].items()}
        names = list(lengths)
        left, crc = lengths[region], 0
        try:
            with path.open("rb", buffering=0) as part:
                part.seek(sum(lengths[name] for name in names[: names.index(region)]))
                while piece := part.read(min(left, PIECE_BYTES)):
                    crc, self.crc = checksum(piece, before=crc), checksum(piece, before=self.crc)
                    self.file.write(piece)
                    left -= len(piece)
        except FileNotFoundError:
            return False  # Gone since its footer was read.
        for record, image in footer["sizes"][region]:
            self.offsets.append(self.written + image_start(image))
            self.lengths.append(image)
            self.written += record
        return not left and crc == footer["crc"][region]

    def sync(self) -> None:
        """Have most of what was appended on disk, so that little is left to wait for at the end."""
        if not self.file.sync():
            raise UserError(_DELETED)

    def finish(self) -> dict[str, Any]:
        """Have all of it on disk, under the name of a whole shard; returns what to note of it."""
        if not self.file.close():
            raise UserError(_DELETED)
        self.temporary.replace(self.target)
        fsync_folder(self.target.parent)
        crc = written_checksum(self.crc)
        return {"bytes": self.written, "crc32c": crc, "offsets": self.offsets, "lengths": self.lengths}


class _Shard:
    """One shard's files, of all regions, as far as they are joined."""

    def __init__(self, staging: Path, plan: ShardPlan) -> None:
        """Nothing is opened before the first part."""
        self.plan, self._staging = plan, staging
        self.finished = False
        self._begin()

    def _begin(self) -> None:
        self.joined = 0
        self._kept: list[Any] = []
        self._rejected: list[Any] = []
        self._regions: dict[str, _Region] = {}

    def append(self) -> int | None:
        """Append the next part to the files of all regions.

        Returns its number where it is damaged: it is deleted then, and the shard begins again.
        """
        number = self.joined
        path = part_path(self._staging, self.plan, number)
        footer = read_footer(path)
        if footer is None or not all(self._region(name).append(path, footer, name) for name in self.plan.regions):
            path.unlink(missing_ok=True)
            self.discard()
            return number
        self._kept += footer["kept"]
        self._rejected += footer["rejected"]
        self.joined += 1
        return None

    def _region(self, region: str) -> _Region:
        if region not in self._regions:
            target = shard_path(self._staging, self.plan, region)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_name(target)
            self._regions[region] = _Region(target, temporary, DirectFile(temporary))
        return self._regions[region]

    def sync(self) -> None:
        """Have most of what was joined so far on disk."""
        for region in self._regions.values():
            region.sync()

    def finish(self) -> None:
        """Name the files, write the receipt, then delete the parts."""
        noted = {name: region.finish() for name, region in self._regions.items()}
        receipt = {"kept": self._kept, "rejected": self._rejected, "regions": noted}
        write_json(receipt_path(self._staging, self.plan), receipt)
        self.finished = True
        for number in range(len(self.plan.parts)):
            part_path(self._staging, self.plan, number).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what is unfinished, and begin again."""
        for region in self._regions.values():
            region.file.discard()
            region.temporary.unlink(missing_ok=True)
        self._begin()
