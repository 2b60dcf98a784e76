"""Training batches from any step, and evaluation batches with each example once."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Self

import numpy as np

from data_tools.cores import available_cores
from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.batch import Batch, BatchMaker, BatchPlan
from data_tools.shards.order import evaluation_batches, evaluation_slice
from data_tools.shards.prefetch import Prefetch, Ring
from data_tools.shards.shard_set import Images, ShardSet

__all__ = ["Batch", "BatchPlan", "EvalBatches", "Ring", "ShardSet", "TrainBatches"]

PREFETCH = 4
"""Batches that are prefetched."""
COPYING_THREADS = 2
"""One core does not saturate the memory bandwidth."""
DECODING_THREADS = 4
"""Maximum, for encoded or augmented pages."""


class TrainBatches:
    """Infinite training batches of one rank from absolute step `start_step`, prefetched by threads.

    Step s is batch s % `steps_per_epoch` of epoch s // `steps_per_epoch`. Its examples and their changes depend on the
    plan's seed and s only; rank r takes the r-th part. Close it, or use it as a context. Limits OpenCV in this process
    to one thread.

    Raises:
        UserError: fewer examples than a global batch, or fewer examples in a batch than ranks.
    """

    def __init__(self, shards: ShardSet, plan: BatchPlan, *, start_step: int = 0, prefetch: int = PREFETCH) -> None:
        """See the class; prefetching starts immediately."""
        # Imported here, because the rest of this module works without OpenCV.
        from data_tools.documents.opencv import use_single_thread

        # Augmentation calls OpenCV from several threads in each of a host's ranks.
        use_single_thread()
        make = BatchMaker(shards, plan)
        self.steps_per_epoch = make.steps_per_epoch
        threads = reading_threads(shards, augment=plan.augment)
        self._prefetch = Prefetch(make, count(start_step), Ring(make.image_shape), ahead=prefetch, threads=threads)

    def __iter__(self) -> Self:
        """This object."""
        return self

    def __next__(self) -> Batch:
        """The next step's batch."""
        return next(self._prefetch)

    def __enter__(self) -> Self:
        """This object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop the threads."""
        self._prefetch.close()


def reading_threads(shards: ShardSet, *, augment: AugmentConfig | None = None) -> int:
    """Threads that make batches of `shards`: more for pages that are decoded, changed or mixed, not only copied."""
    works = shards.encoding != "raw" or (augment is not None and (augment.active or augment.mixes))
    return min(DECODING_THREADS, available_cores()) if works else COPYING_THREADS


class EvalBatches:
    """Prefetched batches of one rank for one evaluation: each example on one rank, equal batch counts on all ranks.

    The examples of a batch do not depend on the number of ranks. The last batches are padded (see `Batch.mask`), and
    may be padding only. Close it, or use it as a context.
    """

    def __init__(self, shards: ShardSet, *, batch: int, rank: int = 0, size: int = 1, prefetch: int = PREFETCH) -> None:
        """See the class; prefetching starts immediately."""
        self._count = evaluation_batches(len(shards), batch, size)
        part = evaluation_slice(len(shards), rank, size, batch=batch)
        make = _evaluation(shards, part, batch)
        ring = Ring((batch, *shards.image_shape))
        threads = reading_threads(shards)
        self._prefetch = Prefetch(make, range(self._count), ring, ahead=prefetch, threads=threads)

    def __len__(self) -> int:
        """Number of batches, equal on all ranks."""
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        """The batches, once."""
        return self._prefetch

    def __enter__(self) -> Self:
        """This object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop the threads."""
        self._prefetch.close()


def _evaluation(shards: ShardSet, part: slice, batch: int) -> Callable[[int, Images], Batch]:
    """The function that makes batch `number` of an evaluation, for `Prefetch`."""

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
