"""Shard sets as arrays: any examples by number, copied from the page cache into a reused buffer."""

import copy
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.labels.corrections import Corrections, corrected
from data_tools.shards.index import Index
from data_tools.shards.manifest import Manifest, Shard
from data_tools.shards.verify import open_verified

Images = NDArray[np.uint8]


class ShardSet:
    """An open shard set; examples are numbered 0..len-1 in the order on disk.

    Shards and index are mapped, so opening reads the index once, and all examples cost the same. `labels` are class
    indices, int32 [n]. With corrections, labels are the corrected ones, excluded pages are not among the examples, and
    `manifest` counts what is left; the files stay as they are. `correction_counts`: pages by decision.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, index: Index, *, corrections: Corrections | None = None
    ) -> None:
        """Use `open`."""
        self.correction_counts: dict[str, int] = {}
        if corrections is not None and (rows := corrections.of_split(manifest.split)).rows:
            manifest, index, self.correction_counts = _correct(manifest, index, rows)
        self.folder, self.manifest, self._index = folder, manifest, index
        self.labels = _class_indices(manifest, index)
        self._rows: NDArray[np.int64] | None = None  # on disk; None: all examples
        self._shards, self._offsets = index.entries["shard"], index.entries["offset"]
        self._row_bytes = manifest.height * manifest.width * manifest.channels
        self._maps = [_mapped(folder / shard.name, shard.bytes) for shard in manifest.shards]
        self._bytes = [np.frombuffer(mapped, np.uint8) for mapped in self._maps]

    @classmethod
    def open(cls, folder: Path | str, *, corrections: Corrections | None = None) -> Self:
        """Open the shard set in `folder`; verifies all but the content of the shards (`verify.open_verified`).

        corrections: those of all splits; the rows of this set's split are applied.

        Raises:
            UserError: there is no complete set, it differs from its manifest, or a correction does not fit its pages.
        """
        folder = Path(folder)
        return cls(folder, *open_verified(folder), corrections=corrections)

    @classmethod
    def joined(cls, sets: Sequence["ShardSet"]) -> Self:
        """The examples of several sets of the same geometry and classes as one set, in their order; nothing is copied.

        Its manifest is that of the first set, histogram included, with the examples and shards of all.

        Raises:
            UserError: the sets differ in size, channels, encoding or classes.
            ValueError: one is a subset, whose files hold more than its examples.
        """
        first = sets[0]
        if any(one._rows is not None for one in sets):
            raise ValueError("a subset cannot be joined")
        shards: list[Shard] = []
        entries, ids, id_bytes = [], [], 0
        for one in sets:
            _refuse_other(first, one)
            own = one._index.entries.copy()
            own["shard"] += len(shards)
            own["id_end"] += id_bytes
            shards += [shard._replace(name=str((one.folder / shard.name).absolute())) for shard in one.manifest.shards]
            entries.append(own)
            ids.append(one._index.ids)
            id_bytes += len(one._index.ids)
        index = Index(np.concatenate(entries), np.concatenate(ids))
        manifest = replace(first.manifest, count=len(index.entries), shards=tuple(shards))
        # An absolute name replaces the folder that it is joined to.
        return cls(first.folder, manifest, index)

    def subset(self, chosen: NDArray[np.bool_]) -> Self:
        """The examples that `chosen` bool [n] selects, as a set of their own, numbered from 0 in the order on disk.

        It shares the mapped files; `manifest` counts the selected examples.
        """
        rows = np.flatnonzero(chosen)
        part = copy.copy(self)
        part.labels, part._rows = self.labels[rows], self._on_disk(rows)
        part._shards, part._offsets = self._shards[rows], self._offsets[rows]
        counts = np.bincount(part.labels, minlength=len(self.manifest.class_ids)).tolist()
        histogram = dict(zip(self.manifest.class_ids, counts, strict=True))
        part.manifest = replace(self.manifest, count=len(rows), histogram=histogram)
        return part

    def _on_disk(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return positions if self._rows is None else self._rows[positions]

    def __len__(self) -> int:
        """Number of examples."""
        return self.manifest.count

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return (self.manifest.height, self.manifest.width, self.manifest.channels)

    @property
    def encoding(self) -> str:
        """Encoding of the images: `raw`, `png` or `jpeg`."""
        return self.manifest.encoding

    @property
    def ids(self) -> NDArray[np.str_]:
        """Page ids of all examples, str [n]; decoded at each access, since they need much memory."""
        return np.array(self.page_ids(range(len(self))), np.str_)

    def page_ids(self, positions: Iterable[int]) -> list[str]:
        """Page ids of the examples at `positions`."""
        return self._index.page_ids(self._on_disk(np.fromiter(positions, np.int64)))

    def gather(self, indices: NDArray[np.int64], out: Images | None = None) -> Images:
        """Images of the examples `indices` int64 [k], uint8 [k, h, w, c]; written to `out` if given.

        Raises:
            UserError: an encoded image cannot be decoded.
        """
        if out is None:
            out = np.empty((len(indices), *self.image_shape), np.uint8)
        if self.manifest.encoding == "raw":
            from data_tools.documents.pixels import stack_rows  # Imported late: most of a set is known without OpenCV.

            size = self._row_bytes
            # By column, which NumPy gathers six times faster than structured entries.
            places = zip(self._shards[indices].tolist(), self._offsets[indices].tolist(), strict=True)
            rows = [self._bytes[shard][start : start + size] for shard, start in places]
            stack_rows(rows, out.reshape(len(indices), size))
        else:
            for row, place in enumerate(indices.tolist()):
                out[row] = self._decoded(place)
        return out

    def _decoded(self, place: int) -> Images:
        from data_tools.documents.pixels import PageError, decode  # Imported late, as above.

        entry = self._index.entries[self._on_disk(np.array([place]))[0]]
        shard, offset, length = (int(entry[name]) for name in ("shard", "offset", "length"))
        content = self._maps[shard][offset : offset + length]
        try:
            return decode(content, color=self.manifest.channels > 1).reshape(self.image_shape)
        except PageError as error:
            name = self.folder / self.manifest.shards[shard].name
            raise UserError(f"{name}: {self.page_ids([place])[0]}: {error}; verify the shard set") from None


def _refuse_other(first: ShardSet, other: ShardSet) -> None:
    for name in ("height", "width", "channels", "encoding", "class_ids"):
        ours, theirs = getattr(first.manifest, name), getattr(other.manifest, name)
        if ours != theirs:
            raise UserError(f"{other.folder}: {name} is {theirs}, but {ours} in {first.folder}; convert it again")


def _class_indices(manifest: Manifest, index: Index) -> NDArray[np.int32]:
    """Labels as positions in `manifest.class_ids`, int32 [n]."""
    labels = np.empty(len(index.entries), np.int32)
    for chunk in index.chunks():
        labels[chunk] = np.searchsorted(manifest.class_ids, index.entries["label"][chunk])
    return labels


def _correct(manifest: Manifest, index: Index, rows: Corrections) -> tuple[Manifest, Index, dict[str, int]]:
    """Manifest and index, in memory, of the pages that are left, with their new labels; pages by decision."""
    named, ids = {row.id for row in rows.rows}, index.page_ids(range(len(index.entries)))
    places = {page_id: place for place, page_id in enumerate(ids) if page_id in named}
    change = corrected(
        rows, places, _class_indices(manifest, index), class_ids=manifest.class_ids, class_names=manifest.class_names
    )
    kept = np.flatnonzero(change.kept)
    class_ids = np.array(manifest.class_ids, np.int32)
    columns = {name: index.entries[name][kept] for name in ("shard", "offset", "length")}
    left = Index.build(
        **columns, label=class_ids[change.labels[kept]], ids=[ids[place].encode() for place in kept.tolist()]
    )
    counts = np.bincount(change.labels[kept], minlength=len(class_ids)).tolist()
    histogram = dict(zip(manifest.class_ids, counts, strict=True))
    return replace(manifest, count=len(kept), histogram=histogram), left, dict(change.counts)


def _mapped(path: Path, size: int) -> mmap.mmap:
    if size == 0:
        # An empty file cannot be mapped, and has no images.
        return mmap.mmap(-1, 1, prot=mmap.PROT_READ)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
