"""The index of a shard set: where each image lies, its label and its page id. Mapped into memory, never loaded."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError
from data_tools.files import open_output

INDEX = "index.npy"
"""Entries of the examples, a structured array [n] of type ENTRY."""
IDS = "ids.npy"
"""Concatenated page ids as UTF-8 without separators, uint8 [bytes]."""

ENTRY = np.dtype([("offset", "<i8"), ("length", "<i8"), ("id_end", "<i8"), ("shard", "<i4"), ("label", "<i4")])
"""One example: byte offset and length of the image in shard number `shard`, class id, and end of the id in IDS."""

CHUNK = 2**18
"""Examples that are processed at a time, so that a pass over a large index needs little memory."""


class Index(NamedTuple):
    """The examples of a shard set in the order on disk: `entries` of type ENTRY [n], `ids` uint8 [bytes]."""

    entries: NDArray[np.void]
    ids: NDArray[np.uint8]

    @classmethod
    def build(
        cls,
        *,
        shard: NDArray[np.int32],
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        label: NDArray[np.int32],
        ids: Sequence[bytes],
    ) -> Self:
        """An index from its columns, each of length n; `ids` are UTF-8."""
        entries = np.empty(len(ids), ENTRY)
        entries["shard"], entries["offset"], entries["length"], entries["label"] = shard, offset, length, label
        entries["id_end"] = np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)))
        return cls(entries, np.frombuffer(b"".join(ids), np.uint8))

    def page_ids(self, positions: Iterable[int]) -> list[str]:
        """Page ids of the examples at `positions`."""
        ends = self.entries["id_end"]
        return [
            self.ids[ends[position - 1] if position else 0 : ends[position]].tobytes().decode()
            for position in map(int, positions)
        ]

    def chunks(self) -> Iterator[slice]:
        """The range of examples in slices of CHUNK."""
        for start in range(0, len(self.entries), CHUNK):
            yield slice(start, min(start + CHUNK, len(self.entries)))

    def same_pages(self, other: "Index") -> bool:
        """Whether both indices hold the same page ids in the same order."""
        return np.array_equal(self.entries["id_end"], other.entries["id_end"]) and np.array_equal(self.ids, other.ids)


def write_index(folder: Path, index: Index) -> None:
    """Write INDEX and IDS into `folder`; the same index gives the same bytes.

    Raises:
        OSError: a file cannot be written; `filename` is its path.
    """
    for name, array in ((INDEX, index.entries), (IDS, index.ids)):
        with open_output(folder / name) as file:
            # Into a file of its own, NumPy writes by the C library, and reports a full disk without the reason.
            plain: Any = SimpleNamespace(write=file.write)
            np.save(plain, array, allow_pickle=False)


def map_index(folder: Path) -> Index:
    """The index of the shard set in `folder`, mapped read-only: processes of one host share its pages.

    Raises:
        UserError: a file is missing or corrupt.
    """
    entries = _mapped(folder / INDEX, ENTRY)
    ids = _mapped(folder / IDS, np.dtype(np.uint8))
    if (entries["id_end"][-1] if len(entries) else 0) != len(ids):
        raise UserError(f"{folder / IDS}: does not match {INDEX}; convert again")
    return Index(entries, ids)


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        # As a plain array: slices of `numpy.memmap` are slow.
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}); convert again") from None
    if array.dtype != dtype or array.ndim != 1:
        raise UserError(f"{path}: not an index of this format; convert again")
    return array
