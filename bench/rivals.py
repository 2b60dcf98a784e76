"""Other input pipelines on the same pages, for `bench/input.py --rivals PYTHON`; runs in that interpreter only.

    python -m venv /tmp/rivals
    /tmp/rivals/bin/pip install grain array_record webdataset mosaicml-streaming nvidia-dali-cuda130 ffcv
    python bench/input.py --rivals /tmp/rivals/bin/python

FFCV is compiled at installation and needs the headers of OpenCV 4 and libjpeg-turbo; pipelines that cannot be imported
are left out. Each pipeline gets the pages uncompressed in its own format, shuffles, and makes NumPy batches, which
spares it the conversion to TensorFlow tensors. The settings are the fastest of those tried on two cores. None of them
is a dependency of this project.
"""

import io
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
PAGES, LABELS, SHARDS = "pages.npy", "labels.npy", "shards/train/holistic"


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


def dali(folder: Path) -> Callable[[], Any]:
    """DALI on the CPU over this project's TFRecords: maps them and draws from a buffer of 512 pages."""
    from nvidia.dali import fn, pipeline_def, tfrecord

    pages, _ = arrays(folder)
    records = sorted(folder.joinpath(SHARDS).glob("*.tfrecord"))
    indices = [record_index(path, folder / f"{path.stem}.index") for path in records]
    features = {
        "image": tfrecord.FixedLenFeature((), tfrecord.string, ""),
        "label": tfrecord.FixedLenFeature((1,), tfrecord.int64, -1),
    }

    @pipeline_def(batch_size=BATCH, num_threads=2, device_id=None, prefetch_queue_depth=4)
    def pipeline() -> Any:
        read = fn.readers.tfrecord(
            path=list(map(str, records)), index_path=indices, features=features, random_shuffle=True, initial_fill=512
        )
        return fn.reshape(read["image"], shape=list(pages.shape[1:])), read["label"]

    running = pipeline()

    def step() -> Any:
        images, labels = running.run()
        return np.asarray(images.as_tensor()), np.asarray(labels.as_tensor())

    return step


def record_index(records: Path, index: Path) -> str:
    """Write the index that DALI needs for a TFRecord file: a line with offset and size of each record."""
    content = np.memmap(records, np.uint8, mode="r")
    lines, start = [], 0
    while start < len(content):
        size = 16 + int(content[start : start + 8].view("<u8")[0])  # Length, two checksums.
        lines.append(f"{start} {size}\n")
        start += size
    index.write_text("".join(lines))
    return str(index)


def streaming(folder: Path) -> Callable[[], Any]:
    """MosaicML Streaming with its own shuffle; stacked here, faster than by its PyTorch loader."""
    from streaming import MDSWriter, StreamingDataset

    pages, labels = arrays(folder)
    columns = {"page": f"ndarray:uint8:{','.join(map(str, pages.shape[1:]))}", "label": "int32"}
    with MDSWriter(out=str(folder / "mds"), columns=columns) as writer:
        for page, label in zip(pages, labels, strict=True):
            writer.write({"page": page, "label": label})
    data = StreamingDataset(local=str(folder / "mds"), shuffle=True, shuffle_seed=1, batch_size=BATCH)

    def batches() -> Iterator[Any]:
        while True:
            samples = iter(data)
            while batch := list(islice(samples, BATCH)):
                yield np.stack([one["page"] for one in batch]), np.stack([one["label"] for one in batch])

    return batches().__next__


def ffcv(folder: Path) -> Callable[[], Any]:
    """FFCV: a random order over one mapped file."""
    from ffcv.fields import IntField, NDArrayField
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.ndarray import NDArrayDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.writer import DatasetWriter

    pages, labels = arrays(folder)

    class Pages:
        def __len__(self) -> int:
            return len(pages)

        def __getitem__(self, number: int) -> tuple[Any, int]:
            return np.array(pages[number]), int(labels[number])

    fields = {"page": NDArrayField(np.dtype(np.uint8), pages.shape[1:]), "label": IntField()}
    DatasetWriter(str(folder / "pages.ffcv"), fields, num_workers=2).from_indexed_dataset(Pages())
    pipelines = {"page": [NDArrayDecoder()], "label": [IntDecoder()]}
    loader = Loader(
        str(folder / "pages.ffcv"), BATCH, num_workers=2, order=OrderOption.RANDOM, seed=1, drop_last=True,
        os_cache=True, batches_ahead=3, pipelines=pipelines,
    )  # fmt: skip

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    return batches().__next__


def arrays(folder: Path) -> tuple[Any, Any]:
    """Pages uint8 [n, h, w, 1] and labels int32 [n]."""
    return np.load(folder / PAGES, mmap_mode="r"), np.load(folder / LABELS)


RIVALS: dict[str, tuple[str, Callable[[Path], Callable[[], Any]]]] = {
    "Grain over ArrayRecord": ("grain, array_record", grain),
    "WebDataset": ("webdataset", webdataset),
    "DALI on the CPU": ("nvidia.dali", dali),
    "Streaming": ("streaming", streaming),
    "FFCV": ("ffcv", ffcv),
}
"""By the name in the table: the module that it needs, and the function that makes a batch."""


def timed(step: Callable[[], Any], seconds: float) -> float:
    """Pages per second of `step`, as in `bench/input.py`, which this interpreter may not be able to import."""
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
