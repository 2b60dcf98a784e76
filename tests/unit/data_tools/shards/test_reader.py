"""Shard sets and batches: any position, any world size, buffers that nobody overwrites."""

import shutil
import threading
import time
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from data_tools.shards.index import IDS, INDEX
from data_tools.shards.manifest import FORMAT, MANIFEST, read_manifest
from data_tools.shards.order import epoch_order
from data_tools.shards.prefetch import THREAD_NAME, Prefetch
from data_tools.shards.reader import COPYING_THREADS, Batch, BatchPlan, EvalBatches, Ring, ShardSet, TrainBatches
from data_tools.shards.verify import check
from tests.helpers.synthetic_pages import made_data

COUNT = 40


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 40 training pages, raw and as PNG."""
    folder = tmp_path_factory.mktemp("sets")
    data = made_data(folder)
    for encoding in ("raw", "png"):
        shards = ShardConfig(folder=str(folder / encoding), height=16, width=12, encoding=encoding)  # type: ignore[arg-type]
        convert(data, shards, regions={}, seed=1, workers=1)
    return {encoding: folder / encoding / "train" / "holistic" for encoding in ("raw", "png")}


@pytest.fixture(scope="module")
def shards(sets: dict[str, Path]) -> ShardSet:
    return ShardSet.open(sets["raw"])


def copied(batch: Batch) -> tuple[bytes, list[int], list[int], list[bool]]:
    return batch.images.tobytes(), batch.labels.tolist(), batch.positions.tolist(), batch.mask.tolist()


def test_gather(sets: dict[str, Path]) -> None:
    raw, png = ShardSet.open(sets["raw"]), ShardSet.open(sets["png"])
    assert len(raw) == len(png) == COUNT
    assert raw.image_shape == (16, 12, 1)
    assert raw.ids.tolist() == png.ids.tolist()
    places = np.array([39, 0, 7, 7])
    images = raw.gather(places)
    assert images.shape == (4, 16, 12, 1)
    assert np.array_equal(images, png.gather(places))
    assert np.array_equal(images[2], images[3])
    out = np.empty_like(images)
    assert raw.gather(places, out) is out
    assert np.array_equal(out, images)
    assert set(raw.labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("global_batch", [8, 12, 40])
def test_resuming_at_any_step_is_exact(shards: ShardSet, global_batch: int) -> None:
    steps = 2 * (COUNT // global_batch) + 3
    with TrainBatches(shards, BatchPlan(global_batch=global_batch, seed=5)) as batches:
        whole = [copied(next(batches)) for _ in range(steps)]
    for start in range(steps):
        with TrainBatches(shards, BatchPlan(global_batch=global_batch, seed=5), start_step=start) as batches:
            assert [copied(next(batches)) for _ in range(steps - start)] == whole[start:]


def test_global_order_does_not_depend_on_the_world_size(shards: ShardSet) -> None:
    def order(size: int) -> list[list[int]]:
        ranks = [TrainBatches(shards, BatchPlan(global_batch=16, seed=2, rank=rank, size=size)) for rank in range(size)]
        steps = [[place for rank in ranks for place in next(rank).positions.tolist()] for _ in range(7)]
        for rank in ranks:
            rank.close()
        return steps

    first = order(1)
    assert first[0] == epoch_order(COUNT, 2, 0)[:16].tolist()
    for size in (2, 3, 4, 8):
        assert order(size) == first


def test_an_epoch_visits_no_page_twice(shards: ShardSet) -> None:
    with TrainBatches(shards, BatchPlan(global_batch=8, seed=1)) as batches:
        assert batches.steps_per_epoch == 5
        epochs = [np.concatenate([next(batches).positions for _ in range(5)]) for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(COUNT))
    assert not np.array_equal(epochs[0], epochs[1])


def test_batches_hold_what_they_say(shards: ShardSet) -> None:
    with TrainBatches(shards, BatchPlan(global_batch=9, seed=1, rank=1, size=2)) as batches:
        for batch in (next(batches) for _ in range(10)):
            assert batch.images.shape == (5, 16, 12, 1)
            assert batch.images.dtype == np.uint8
            assert batch.labels.dtype == np.int32
            assert np.array_equal(batch.images, shards.gather(batch.positions))
            assert np.array_equal(batch.labels, shards.labels[batch.positions])
            assert batch.mask.all()


@pytest.mark.parametrize("size", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_evaluation_sees_each_page_once(shards: ShardSet, size: int, batch: int) -> None:
    seen, numbers = [], set()
    for rank in range(size):
        with EvalBatches(shards, batch=batch, rank=rank, size=size) as batches:
            made = [Batch(*(array.copy() for array in one[:4])) for one in batches]
            numbers.add(len(made))
            assert len(batches) == len(made)
        for one in made:
            assert one.images.shape == (batch, 16, 12, 1)
            assert np.array_equal(one.images[one.mask], shards.gather(one.positions[one.mask]))
            assert np.array_equal(one.labels[one.mask], shards.labels[one.positions[one.mask]])
            assert not one.images[~one.mask].any()
            assert (one.positions[~one.mask] == -1).all()
            seen += one.positions[one.mask].tolist()
    assert sorted(seen) == list(range(COUNT))
    assert len(numbers) == 1


def test_training_keeps_opencv_to_the_threads_of_the_reader(shards: ShardSet) -> None:
    cv2.setNumThreads(4)
    with TrainBatches(shards, BatchPlan(global_batch=8, seed=1)):
        assert cv2.getNumThreads() == 1


def test_too_small_a_set(shards: ShardSet) -> None:
    with pytest.raises(UserError, match="global_batch: 41 is more than the 40"):
        TrainBatches(shards, BatchPlan(global_batch=41, seed=1))
    with pytest.raises(UserError, match="less than the 8 workers"):
        TrainBatches(shards, BatchPlan(global_batch=7, seed=1, rank=0, size=8))


def test_ring_reuses_only_what_nobody_holds() -> None:
    ring = Ring((4, 3))
    first = ring.take()
    assert first.ctypes.data % 64 == 0
    place = first.ctypes.data
    second = ring.take()
    assert second.ctypes.data != place
    part = first[1:, :2]
    del first
    assert ring.take().ctypes.data != place
    del part
    assert ring.take().ctypes.data == place
    assert len(ring) == 3


def test_kept_batches_are_never_overwritten(shards: ShardSet) -> None:
    with TrainBatches(shards, BatchPlan(global_batch=8, seed=1)) as batches:
        kept = [(batch, batch.images.copy()) for batch in (next(batches) for _ in range(40))]
    assert all(np.array_equal(batch.images, copy) for batch, copy in kept)


def test_buffers_are_used_again(shards: ShardSet) -> None:
    with TrainBatches(shards, BatchPlan(global_batch=8, seed=1), prefetch=2) as batches:
        places = {next(batches).images.ctypes.data for _ in range(200)}
    # Made ahead, held by the reader, and up to one that each thread is about to let go.
    assert len(places) <= 2 + 2 + COPYING_THREADS


def test_tensors_share_the_buffer_and_keep_it() -> None:
    from data_tools.shards.tensors import as_tensor

    ring = Ring((2, 8, 8, 1))
    images = ring.take()
    images[:] = 7
    place = images.ctypes.data
    tensor = as_tensor(images)
    assert tensor.shape == (2, 8, 8, 1)
    del images
    # The tensor alone holds the buffer now: another is handed out, and the tensor keeps its values.
    other = ring.take()
    assert other.ctypes.data != place
    other[:] = 9
    assert (tensor.numpy() == 7).all()
    del tensor
    # TensorFlow may free it a little later, from another thread or in its next call.
    for _ in range(500):
        as_tensor(np.zeros(1))
        if ring.take().ctypes.data == place:
            return
        time.sleep(0.01)
    pytest.fail("the buffer was never handed out again")


def test_unaligned_arrays_are_copied_into_tensors() -> None:
    from data_tools.shards.tensors import as_tensor

    array = np.arange(100, dtype=np.uint8)[1:51]
    tensor = as_tensor(array)
    array[:] = 0
    assert tensor.numpy().tolist() == list(range(1, 51))
    assert as_tensor(np.array([True, False])).numpy().tolist() == [True, False]


def test_closing_ends_the_thread(shards: ShardSet) -> None:
    batches = TrainBatches(shards, BatchPlan(global_batch=8, seed=1))
    next(batches)
    batches.close()
    with pytest.raises(StopIteration):
        for _ in range(10):
            next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


def test_forgotten_batches_leave_no_thread(shards: ShardSet) -> None:
    batches = TrainBatches(shards, BatchPlan(global_batch=8, seed=1))
    gone = weakref.ref(batches)
    del batches
    assert gone() is None
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 3, 50])
def test_prefetched_things_come_in_order_whoever_made_them(threads: int, ahead: int) -> None:
    turns = [threading.Event() for _ in range(20)]

    def make(number: int, buffer: np.ndarray) -> tuple[int, int]:
        # Of two neighbors the second is always made first, where there are threads and room enough.
        if number % 2 == 0 and threads > 1 and ahead > 1:
            assert turns[number + 1].wait(30)
        turns[number].set()
        buffer[:] = number
        return number, int(buffer[0])

    with_buffers = list(Prefetch(make, range(20), Ring((3,)), ahead=ahead, threads=threads))
    assert with_buffers == [(number, number) for number in range(20)]


def test_nothing_comes_after_an_error() -> None:
    def make(number: int, _: np.ndarray) -> int:
        if number == 3:
            raise UserError("the third")
        return number

    batches = Prefetch(make, range(9), Ring((1,)), ahead=4, threads=2)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="the third"):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


def test_an_error_in_the_thread_reaches_the_reader(sets: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(sets["png"], folder)
    shards = ShardSet.open(folder)
    shard = folder / shards.manifest.shards[0].name
    content = bytearray(shard.read_bytes())
    content[:] = b"\0" * len(content)
    with shard.open("r+b") as file:
        file.write(content)
    with pytest.raises(UserError, match=r"tfrecord: .*verify the shard set"), EvalBatches(shards, batch=8) as batches:
        list(batches)


def damage(folder: Path, name: str, place: int) -> None:
    with (folder / name).open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ 1]))


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_verify(sets: dict[str, Path], tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "s"

    def fresh() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sets[encoding], folder)
        return read_manifest(folder).shards[0].name

    name = fresh()
    assert check(folder) == check(folder, deep=True) == []

    damage(folder, name, 300)
    assert check(folder) == []
    assert check(folder, deep=True) == [f"{folder / name}: changed since it was written (checksum)"]

    with (folder / fresh()).open("ab") as file:
        file.write(b"x")
    assert "bytes, the manifest says" in check(folder)[0]

    (folder / fresh()).unlink()
    assert check(folder) == [f"{folder / name}: missing"]
    with pytest.raises(UserError, match="missing"):
        ShardSet.open(folder)

    for index_file in (INDEX, IDS):
        fresh()
        damage(folder, index_file, 400)
        assert check(folder) == [f"{folder / index_file}: changed since it was written (checksum)"]

    fresh()
    (folder / "shard-00009-of-00010.tfrecord").touch()
    assert check(folder) == [f"{folder / 'shard-00009-of-00010.tfrecord'}: does not belong here"]

    fresh()
    (folder / MANIFEST).unlink()
    assert "no complete shard set" in check(folder)[0]
    with pytest.raises(UserError, match="no complete shard set"):
        ShardSet.open(folder)

    fresh()
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(f'"version": {FORMAT}', '"version": 99'))
    assert "shard format 99" in check(folder)[0]
    (folder / MANIFEST).write_text(text.replace(f'"version": {FORMAT}', '"version": 2'))
    with pytest.raises(UserError, match=r"shard format 2, .* convert the pages again"):
        ShardSet.open(folder)
    (folder / MANIFEST).write_text(text[:100])
    assert "not readable as JSON" in check(folder)[0]
    (folder / MANIFEST).write_text("{}")
    assert "corrupt" in check(folder)[0]


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_subset_is_a_set_of_its_own(sets: dict[str, Path], encoding: str) -> None:
    whole = ShardSet.open(sets[encoding])
    chosen = np.arange(COUNT) % 3 != 1
    rows = np.flatnonzero(chosen)
    part = whole.subset(chosen)
    assert len(part) == len(rows)
    assert part.ids.tolist() == whole.ids[chosen].tolist()
    assert part.page_ids(np.array([4, 0])) == [str(whole.ids[rows[4]]), str(whole.ids[rows[0]])]
    assert np.array_equal(part.labels, whole.labels[chosen])
    assert np.array_equal(part.gather(np.array([5, 0, 5])), whole.gather(rows[[5, 0, 5]]))
    again = part.subset(np.arange(len(rows)) < 4)
    assert again.ids.tolist() == whole.ids[rows[:4]].tolist()
    assert np.array_equal(again.gather(np.arange(4)), whole.gather(rows[:4]))
    assert len(whole) == COUNT, "the set itself does not change"
    counts = np.bincount(part.labels, minlength=3).tolist()
    assert part.manifest.histogram == dict(zip(whole.manifest.class_ids, counts, strict=True))
    with pytest.raises(ValueError, match="subset"):
        ShardSet.joined([whole, part])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batches_of_a_subset_resume_exactly_for_any_world_size(shards: ShardSet, size: int) -> None:
    part = shards.subset(np.arange(COUNT) % 4 != 0)
    steps = 3 * (len(part) // 12) + 1

    def order(start: int, ranks: int) -> list[list[str]]:
        readers = [
            TrainBatches(part, BatchPlan(global_batch=12, seed=5, rank=rank, size=ranks), start_step=start)
            for rank in range(ranks)
        ]
        found = [[page for r in readers for page in part.page_ids(next(r).positions)] for _ in range(steps - start)]
        for reader in readers:
            reader.close()
        return found

    expected = order(0, 1)
    assert {page for step in expected[:2] for page in step} <= set(part.ids.tolist())
    assert len({page for step in expected[:2] for page in step}) == 24, "an epoch visits no page twice"
    for start in range(steps):
        assert order(start, size) == expected[start:]


def test_an_evaluation_of_a_subset_covers_it_once(shards: ShardSet) -> None:
    part = shards.subset(np.arange(COUNT) < 21)
    found: list[int] = []
    for rank in range(2):
        with EvalBatches(part, batch=4, rank=rank, size=2) as batches:
            found += [place for batch in batches for place in batch.positions[batch.mask].tolist()]
    assert sorted(found) == list(range(21))
