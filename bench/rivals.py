"""Other input pipelines on the same pages, for `bench/input.py --rivals PYTHON`; runs in that interpreter alone.

    python -m venv /tmp/rivals && /tmp/rivals/bin/pip install grain array_record webdataset
    python bench/input.py --rivals /tmp/rivals/bin/python

Each gets the pages uncompressed, in its own format, shuffles, and makes NumPy batches; none has to make tensors of
them. None of them is a dependency of the project.
"""

import io
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
PAGES, LABELS = "pages.npy", "labels.npy"


def grain(folder: Path) -> Callable[[], Any]:
    """Grain over ArrayRecord: a global shuffle, reads in threads."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from grain.python import ArrayRecordDataSource, MapDataset, ReadOptions

    pages, labels = arrays(folder)
    writer = ArrayRecordWriter(str(folder / "pages.arrayrecord"), "group_size:1")
    for page, label in zip(pages, labels, strict=True):
        writer.write(label.tobytes() + page.tobytes())
    writer.close()

    def parse(record: bytes) -> tuple[Any, Any]:
        return np.frombuffer(record, np.uint8, offset=4).reshape(pages.shape[1:]), np.frombuffer(record, np.int32, 1)[0]

    source = ArrayRecordDataSource([str(folder / "pages.arrayrecord")])
    batches = MapDataset.source(source).shuffle(seed=1).repeat().map(parse).batch(BATCH)
    return iter(batches.to_iter_dataset(ReadOptions(num_threads=2, prefetch_buffer_size=8))).__next__


def webdataset(folder: Path) -> Callable[[], Any]:
    """WebDataset: tar files read in order, a buffer of 512 pages to shuffle in."""
    import webdataset as wds

    pages, labels = arrays(folder)
    shards = 4
    for shard in range(shards):
        with tarfile.open(folder / f"pages-{shard}.tar", "w") as tar:
            for number in range(shard, len(pages), shards):
                for suffix, content in (("page", pages[number].tobytes()), ("label", labels[number].tobytes())):
                    member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))

    def parse(sample: dict[str, bytes]) -> tuple[Any, Any]:
        page = np.frombuffer(sample["page"], np.uint8).reshape(pages.shape[1:])
        return page, np.frombuffer(sample["label"], np.int32)[0]

    urls = [str(folder / f"pages-{shard}.tar") for shard in range(shards)]
    read = wds.WebDataset(urls, shardshuffle=shards, empty_check=False).repeat().shuffle(512).map(parse)
    return iter(read.batched(BATCH, partial=False)).__next__


def arrays(folder: Path) -> tuple[Any, Any]:
    """Pages uint8 [n, h, w, 1] and labels int32 [n]."""
    return np.load(folder / PAGES, mmap_mode="r"), np.load(folder / LABELS)


RIVALS: dict[str, tuple[str, Callable[[Path], Callable[[], Any]]]] = {
    "Grain over ArrayRecord": ("grain, array_record", grain),
    "WebDataset": ("webdataset", webdataset),
}
"""By the name in the table: what has to be importable, and what makes a batch."""


def timed(step: Callable[[], Any], seconds: float) -> float:
    """Pages a second of `step`; as in `bench/input.py`, which this interpreter may not be able to import."""
    for _ in range(6):
        step()
    begun, batches = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        step()
        batches += 1
    return BATCH * batches / (time.perf_counter() - begun)


def served(lines: Iterator[str], name: str, folder: Path) -> None:
    """Answer each line, a number of seconds, with `speed PAGES_PER_SECOND`."""
    step = RIVALS[name][1](folder)
    pages = step()[0]
    if np.asarray(pages).shape != (BATCH, *arrays(folder)[0].shape[1:]):
        raise SystemExit(f"{name}: batches of another shape, {np.asarray(pages).shape}")
    for line in lines:
        print("speed", timed(step, float(line)), flush=True)


if __name__ == "__main__":
    served(iter(sys.stdin), sys.argv[1], Path(sys.argv[2]))
