"""Batches at a position: training batches from any step on, evaluation batches with each example once."""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.augment import AugmentConfig, augment
from data_tools.shards.order import (
    epoch_order,
    evaluation_batches,
    evaluation_slice,
    rank_slice,
    steps_per_epoch,
)
from data_tools.shards.prefetch import Prefetch, Ring
from data_tools.shards.shard_set import Images, ShardSet
from data_tools.workers.pool import available_cores

__all__ = ["Batch", "EvalBatches", "Ring", "ShardSet", "TrainBatches"]

PREFETCH = 4
"""Batches made ahead."""
COPYING_THREADS = 2
"""One core alone does not use up the memory's bandwidth."""
DECODING_THREADS = 4
"""At most; of encoded shards."""


class Batch(NamedTuple):
    """Images uint8 [b, h, w, c], class indices int32 [b], example numbers int64 [b], mask bool [b].

    Padding has a false mask and -1 for a number.
    """

    images: Images
    labels: NDArray[np.int32]
    positions: NDArray[np.int64]
    mask: NDArray[np.bool_]


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
        from data_tools.documents.opencv import use_single_thread  # Here, since most of a set is known without OpenCV.

        # Augmentation calls OpenCV from several threads of each of a host's ranks.
        use_single_thread()
        self.steps_per_epoch = steps_per_epoch(len(shards), global_batch)
        part = rank_slice(global_batch, rank, size)
        plan = _Plan(global_batch, seed, self.steps_per_epoch, augment or AugmentConfig())
        make = _training(shards, part, plan)
        ring = Ring((part.stop - part.start, *shards.image_shape))
        threads = reading_threads(shards, augment=plan.augment)
        self._prefetch = Prefetch(make, count(start_step), ring, ahead=prefetch, threads=threads)

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


def _training(shards: ShardSet, part: slice, plan: "_Plan") -> Callable[[int, Images], Batch]:
    """What makes the batch of an absolute step, for `Prefetch`."""
    mask = np.ones(part.stop - part.start, np.bool_)
    orders = _Orders(len(shards), plan.seed)

    def make(step: int, images: Images) -> Batch:
        epoch, number = divmod(step, plan.steps)
        start = number * plan.global_batch
        positions = orders.of(epoch)[start + part.start : start + part.stop].copy()
        shards.gather(positions, images)
        if plan.augment.active:
            augment(images, plan.augment, seed=plan.seed, epoch=epoch, positions=positions)
        return Batch(images, shards.labels[positions], positions, mask)

    return make


class _Orders:
    """The orders of the last two epochs: at a border, threads are at work on both sides of it."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._kept: dict[int, NDArray[np.int64]] = {}
        self._lock = threading.Lock()

    def of(self, epoch: int) -> NDArray[np.int64]:
        """The order of `epoch`, made once."""
        with self._lock:
            if epoch not in self._kept:
                for old in sorted(self._kept)[:-1]:
                    del self._kept[old]
                self._kept[epoch] = epoch_order(self._count, self._seed, epoch)
            return self._kept[epoch]


def reading_threads(shards: ShardSet, *, augment: AugmentConfig | None = None) -> int:
    """Threads that make batches of `shards`: more where pages are to be decoded or changed, not only copied."""
    works = shards.encoding != "raw" or (augment is not None and augment.active)
    return min(DECODING_THREADS, available_cores()) if works else COPYING_THREADS


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
        make = _evaluation(shards, part, batch)
        ring = Ring((batch, *shards.image_shape))
        threads = reading_threads(shards)
        self._prefetch = Prefetch(make, range(self._count), ring, ahead=prefetch, threads=threads)

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


def _evaluation(shards: ShardSet, part: slice, batch: int) -> Callable[[int, Images], Batch]:
    """What makes batch `number` of an evaluation, for `Prefetch`."""

    def make(number: int, images: Images) -> Batch:
        start = min(part.start + number * batch, part.stop)
        real = min(batch, part.stop - start)
        positions = np.full(batch, -1, np.int64)
        positions[:real] = np.arange(start, start + real)
        labels = np.zeros(batch, np.int32)
        labels[:real] = shards.labels[start : start + real]
        shards.gather(positions[:real], images[:real])
        images[real:] = 0
        return Batch(images, labels, positions, positions >= 0)

    return make
