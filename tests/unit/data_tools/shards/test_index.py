"""The index of a shard set: written deterministically, mapped instead of loaded."""

import mmap
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.shards.index import IDS, INDEX, Index, map_index, write_index
from data_tools.shards.manifest import FORMAT, Manifest, Shard, write_manifest
from data_tools.shards.records import file_checksum
from data_tools.shards.shard_set import ShardSet

PAGES = 300_000
SHARD = "shard-00000-of-00001.tfrecord"


def index_of(ids: list[str]) -> Index:
    count = len(ids)
    return Index.build(
        shard=np.zeros(count, np.int32),
        offset=np.arange(count, dtype=np.int64),
        length=np.ones(count, np.int64),
        label=(np.arange(count) % 16).astype(np.int32),
        ids=[page_id.encode() for page_id in ids],
    )


def test_index_and_ids_are_read_back(tmp_path: Path) -> None:
    ids = ["a.tif", "ä/ö/日本.tif", "", "b" * 300]
    write_index(tmp_path, index_of(ids))
    index = map_index(tmp_path)
    assert index.page_ids(range(4)) == ids
    assert index.page_ids(np.array([3, 0, 0])) == [ids[3], ids[0], ids[0]]
    assert index.entries["offset"].tolist() == [0, 1, 2, 3]
    assert index.same_pages(index_of(ids))
    assert not index.same_pages(index_of([*ids[:3], "c" * 300]))
    # The same ids text, cut at other places.
    assert not index_of(["ab", "c"]).same_pages(index_of(["a", "bc"]))


def test_an_empty_index(tmp_path: Path) -> None:
    write_index(tmp_path, index_of([]))
    assert len(map_index(tmp_path).entries) == 0


@pytest.mark.parametrize("name", [INDEX, IDS])
@pytest.mark.parametrize(
    "corrupt", [b"", b"\x93NUMPY", np.zeros(3, np.int16), np.zeros((4, 2), np.uint8), np.zeros(9, np.uint8)]
)
def test_a_corrupt_index_is_one_line(tmp_path: Path, name: str, corrupt: bytes | np.ndarray) -> None:
    write_index(tmp_path, index_of(["a", "b"]))
    if isinstance(corrupt, bytes):
        (tmp_path / name).write_bytes(corrupt)
    else:
        np.save(tmp_path / name, corrupt)
    with pytest.raises(UserError, match="convert again"):
        map_index(tmp_path)


def test_opening_a_set_loads_labels_alone(tmp_path: Path) -> None:
    write_index(tmp_path, index_of([f"images/a/b/c/{number:060d}.tif" for number in range(PAGES)]))
    (tmp_path / SHARD).touch()
    os.truncate(tmp_path / SHARD, PAGES)
    class_ids = tuple(range(16))
    manifest = Manifest(
        region="holistic",
        split="train",
        box=(0.0, 0.0, 1.0, 1.0),
        height=1,
        width=1,
        channels=1,
        encoding="raw",
        count=PAGES,
        rejected=0,
        class_ids=class_ids,
        class_names=tuple(map(str, class_ids)),
        histogram=dict.fromkeys(class_ids, PAGES // 16),
        shards=(Shard(SHARD, PAGES, PAGES, "00000000"),),
        index_crc32c=file_checksum(tmp_path / INDEX),
        ids_crc32c=file_checksum(tmp_path / IDS),
        labels_fingerprint="",
        settings={},
        seed=1,
        version=FORMAT,
        decoder="",
    )
    write_manifest(tmp_path, manifest)
    tracemalloc.start()
    shards = ShardSet.open(tmp_path)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    labels = shards.labels.nbytes
    assert kept < labels + 2**20
    # Temporary arrays are of one chunk; the index files together have 32 MB.
    assert peak < labels + 10 * 2**20
    base = shards._index.entries
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
