"""Shard sets as arrays: any examples by number, straight from the page cache into one reused buffer."""

import mmap
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.shards.manifest import Index, Manifest, check, read_index, read_manifest

Images = NDArray[np.uint8]


class ShardSet:
    """An open shard set; examples are numbered 0..len-1 in the order on disk.

    Shards are mapped, not read: opening costs the index, and any example costs the same as the first.
    """

    def __init__(self, folder: Path, manifest: Manifest, index: Index) -> None:
        """Use `open`."""
        self.folder, self.manifest, self._index = folder, manifest, index
        self.labels: NDArray[np.int32] = np.searchsorted(manifest.class_ids, index.label).astype(np.int32)
        self._row_bytes = manifest.height * manifest.width * manifest.channels
        self._maps = [_mapped(folder / shard.name, shard.bytes) for shard in manifest.shards]
        self._bytes = [np.frombuffer(mapped, np.uint8) for mapped in self._maps]

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """The shard set in `folder`, checked cheaply (`manifest.check`).

        Raises:
            UserError: no whole set, or one that is not what its manifest says.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        problems = check(folder)
        if problems:
            raise UserError(f"{problems[0]}; convert again, or see all with a deep verification")
        return cls(folder, manifest, read_index(folder))

    def __len__(self) -> int:
        """Number of examples."""
        return self.manifest.count

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return (self.manifest.height, self.manifest.width, self.manifest.channels)

    @property
    def encoding(self) -> str:
        """How pages are stored: `raw`, `png` or `jpeg`."""
        return self.manifest.encoding

    @cached_property
    def ids(self) -> NDArray[np.str_]:
        """Page ids, str [n]."""
        return np.array([page_id.decode() for page_id in self._index.id.tolist()], np.str_)

    def gather(self, indices: NDArray[np.int64], out: Images | None = None) -> Images:
        """Images of the examples `indices`, uint8 [k, h, w, c], into `out` where it is given.

        Raises:
            UserError: an encoded image cannot be decoded.
        """
        if out is None:
            out = np.empty((len(indices), *self.image_shape), np.uint8)
        if self.manifest.encoding == "raw":
            from data_tools.documents.pixels import stack_rows  # Here, since most of a set is known without OpenCV.

            size = self._row_bytes
            shards, starts = (self._index[column][indices].tolist() for column in range(2))
            rows = [self._bytes[shard][start : start + size] for shard, start in zip(shards, starts, strict=True)]
            stack_rows(rows, out.reshape(len(indices), size))
        else:
            for row, place in enumerate(indices.tolist()):
                out[row] = self._decoded(place)
        return out

    def _decoded(self, place: int) -> Images:
        from data_tools.documents.pixels import PageError, decode  # Here, as above.

        shard, offset, length = (int(self._index[column][place]) for column in range(3))
        content = self._maps[shard][offset : offset + length]
        try:
            return decode(content, color=self.manifest.channels > 1).reshape(self.image_shape)
        except PageError as error:
            name = self.folder / self.manifest.shards[shard].name
            raise UserError(f"{name}: {self.ids[place]}: {error}; verify the shard set") from None


def _mapped(path: Path, size: int) -> mmap.mmap:
    if size == 0:
        # Nothing can be mapped of an empty file, and nothing will be asked of it.
        return mmap.mmap(-1, 1, prot=mmap.PROT_READ)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
