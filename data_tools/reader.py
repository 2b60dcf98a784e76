"""Batches at a position: training batches from any step on, evaluation batches with each example once."""

import queue
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data_tools.augment import AugmentConfig, augment
from data_tools.order import (
    epoch_order,
    evaluation_batches,
    evaluation_slice,
    rank_slice,
    steps_per_epoch,
)
from data_tools.shard_set import Images, ShardSet

__all__ = ["Batch", "EvalBatches", "Ring", "ShardSet", "TrainBatches"]

PREFETCH = 4
"""Batches made ahead."""
ALIGNMENT = 64
"""Bytes; TensorFlow takes no CPU buffer that is aligned to less."""
_POLL_S = 0.2


class Batch(NamedTuple):
    """Images uint8 [b, h, w, c], class indices int32 [b], example numbers int64 [b], mask bool [b].

    Padding has a false mask and -1 for a number.
    """

    images: Images
    labels: NDArray[np.int32]
    positions: NDArray[np.int64]
    mask: NDArray[np.bool_]


_Queue = queue.Queue[Batch | BaseException | None]


class Ring:
    """Buffers of one shape that are used again once nothing refers to them any more.

    Whatever holds a batch's images, an array, a view or a tensor made of it without a copy, holds a
    reference on the buffer, so a buffer is never overwritten under its reader; a reader that keeps batches
    makes the ring grow.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: of the uint8 buffers."""
        self._shape = shape
        self._size = int(np.prod(shape))
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self) -> Images:
        """A buffer that nobody holds, uint8 of the ring's shape, aligned to ALIGNMENT, content arbitrary."""
        for number in range(len(self._buffers)):
            # Two references: the list's, and the argument's of getrefcount itself.
            if sys.getrefcount(self._buffers[number]) == _FREE:
                return self._view(self._buffers[number])
        self._buffers.append(np.empty(self._size + ALIGNMENT, np.uint8))
        return self._view(self._buffers[-1])

    def _view(self, buffer: NDArray[np.uint8]) -> Images:
        skip = -buffer.ctypes.data % ALIGNMENT
        return buffer[skip : skip + self._size].reshape(self._shape)

    def __len__(self) -> int:
        """Buffers made so far."""
        return len(self._buffers)


_FREE = 2


class TrainBatches:
    """Endless training batches of one rank, from absolute step `start_step` on; prefetched by a thread.

    Step s is batch s % `steps_per_epoch` of epoch s // `steps_per_epoch`; which examples are in it depends on
    the seed and s alone, and rank r takes the r-th part of it. Close it, or use it as a context.

    Raises:
        UserError: fewer examples than `global_batch`, or fewer examples in a batch than ranks.
    """

    def __init__(
        self,
        shards: ShardSet,
        *,
        global_batch: int,
        seed: int,
        rank: int = 0,
        size: int = 1,
        start_step: int = 0,
        augment: AugmentConfig | None = None,
        prefetch: int = PREFETCH,
    ) -> None:
        """See the class; the first batches are made at once."""
        self.steps_per_epoch = steps_per_epoch(len(shards), global_batch)
        part = rank_slice(global_batch, rank, size)
        plan = _Plan(global_batch, seed, self.steps_per_epoch, augment or AugmentConfig())
        self._prefetch = _Prefetch(_training(shards, part, plan, start_step), prefetch)

    def __iter__(self) -> Self:
        """The batches themselves."""
        return self

    def __next__(self) -> Batch:
        """The next step's batch."""
        return next(self._prefetch)

    def __enter__(self) -> Self:
        """The batches themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop the thread."""
        self._prefetch.close()


def _training(shards: ShardSet, part: slice, plan: "_Plan", step: int) -> Iterator[Batch]:
    batch = part.stop - part.start
    ring = Ring((batch, *shards.image_shape))
    mask = np.ones(batch, np.bool_)
    while True:
        epoch, first = divmod(step, plan.steps)
        order = epoch_order(len(shards), plan.seed, epoch)
        for number in range(first, plan.steps):
            start = number * plan.global_batch
            positions = order[start + part.start : start + part.stop].copy()
            images = shards.gather(positions, ring.take())
            if plan.augment.active:
                augment(images, plan.augment, seed=plan.seed, epoch=epoch, positions=positions)
            yield Batch(images, shards.labels[positions], positions, mask)
            del images
        step = (epoch + 1) * plan.steps


class _Plan(NamedTuple):
    global_batch: int
    seed: int
    steps: int
    augment: AugmentConfig


class EvalBatches:
    """Batches of one rank for one evaluation: each example on one rank, as many batches on every rank.

    Which examples share a batch does not depend on the number of ranks; a rank may get batches of padding alone.
    The last ones are padded; see `Batch.mask`. Prefetched; close it, or use it as a context.
    """

    def __init__(self, shards: ShardSet, *, batch: int, rank: int = 0, size: int = 1, prefetch: int = PREFETCH) -> None:
        """See the class."""
        self._count = evaluation_batches(len(shards), batch, size)
        part = evaluation_slice(len(shards), rank, size, batch=batch)
        self._prefetch = _Prefetch(_evaluation(shards, part, batch, self._count), prefetch)

    def __len__(self) -> int:
        """Batches in all, the same on every rank."""
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        """The batches, once."""
        return self._prefetch

    def __enter__(self) -> Self:
        """The batches themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop the thread."""
        self._prefetch.close()


def _evaluation(shards: ShardSet, part: slice, batch: int, count: int) -> Iterator[Batch]:
    ring = Ring((batch, *shards.image_shape))
    for number in range(count):
        start = min(part.start + number * batch, part.stop)
        real = min(batch, part.stop - start)
        positions = np.full(batch, -1, np.int64)
        positions[:real] = np.arange(start, start + real)
        labels = np.zeros(batch, np.int32)
        labels[:real] = shards.labels[start : start + real]
        images = ring.take()
        shards.gather(positions[:real], images[:real])
        images[real:] = 0
        yield Batch(images, labels, positions, positions >= 0)
        del images


class _Prefetch(Iterator[Batch]):
    """What `source` yields, made ahead by a thread of its own; its error is raised in the reader's.

    The thread knows nothing of this object, so that it ends when its reader is forgotten without `close`.
    """

    def __init__(self, source: Iterator[Batch], ahead: int) -> None:
        made: _Queue = queue.Queue(max(1, ahead))
        closed = threading.Event()
        self._queue, self._closed = made, closed
        self._thread = threading.Thread(
            target=_fill, args=(source, made, closed), name="regionstack-prefetch", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, closed.set)

    def __next__(self) -> Batch:
        while not self._closed.is_set():
            try:
                item = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, Batch):
                return item
            self._closed.set()
            if item is not None:
                raise item
        raise StopIteration

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


def _fill(source: Iterator[Batch], made: _Queue, closed: threading.Event) -> None:
    last: BaseException | None = None
    try:
        while not closed.is_set():
            # Not a for loop: its variable would keep a reference on the last batch's buffer.
            if not _put(next(source), made, closed):
                return
    except StopIteration:
        pass
    except BaseException as error:  # noqa: BLE001 (the thread's boundary: raised again in the reader's)
        last = error
    _put(last, made, closed)


def _put(item: Batch | BaseException | None, made: _Queue, closed: threading.Event) -> bool:
    while not closed.is_set():
        try:
            made.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
