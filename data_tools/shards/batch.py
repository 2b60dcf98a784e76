"""The training batch of any step, made from shards alone: pages in order, changed, then mixed."""

import threading
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data_tools.shards.augment.change import augment
from data_tools.shards.augment.config import AugmentConfig
from data_tools.shards.augment.mix import MixPlan, mix, plan_mix
from data_tools.shards.order import epoch_order, rank_slice, steps_per_epoch
from data_tools.shards.shard_set import Images, ShardSet


class Mix(NamedTuple):
    """The pages that a batch's pages are mixed with: class indices int32 [b], example numbers int64 [b].

    shares: float32 [b], share of the page itself in its label; the rest is the partner's.
    """

    labels: NDArray[np.int32]
    positions: NDArray[np.int64]
    shares: NDArray[np.float32]


class Batch(NamedTuple):
    """Images uint8 [b, h, w, c], class indices int32 [b], example numbers int64 [b], mask bool [b].

    Padding has mask False and number -1. mix: None unless training pages are mixed with each other.
    """

    images: Images
    labels: NDArray[np.int32]
    positions: NDArray[np.int64]
    mask: NDArray[np.bool_]
    mix: Mix | None = None


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What determines a rank's training batches besides the pages and the step.

    global_batch: pages of a step over all `size` ranks; augment: the random changes of its pages.
    """

    global_batch: int
    seed: int
    rank: int = 0
    size: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @property
    def part(self) -> slice:
        """This rank's part of each global batch.

        Raises:
            UserError: fewer pages in the batch than ranks.
        """
        return rank_slice(self.global_batch, self.rank, self.size)

    def unmixed(self) -> Self:
        """The same batches with the pages' own changes alone."""
        return replace(self, augment=self.augment.unmixed())


class BatchMaker:
    """Makes the batch of any absolute step; threads may call it at the same time.

    Raises:
        UserError: fewer examples than a global batch, or fewer examples in a batch than ranks.
    """

    def __init__(self, shards: ShardSet, plan: BatchPlan) -> None:
        """`shards` are the training pages."""
        self.steps_per_epoch = steps_per_epoch(len(shards), plan.global_batch)
        self._shards, self._plan, self._part = shards, plan, plan.part
        self._mask = np.ones(self._part.stop - self._part.start, np.bool_)
        self._orders = _Orders(len(shards), plan.seed)
        self._scratch = threading.local()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of a batch's images."""
        return (len(self._mask), *self._shards.image_shape)

    def __call__(self, step: int, images: Images) -> Batch:
        """The batch of `step`, in the buffer `images` uint8 [b, h, w, c]."""
        epoch, number = divmod(step, self.steps_per_epoch)
        first = number * self._plan.global_batch
        order = self._orders.of(epoch)[first : first + self._plan.global_batch]
        positions = order[self._part].copy()
        self._read(positions, epoch, images)
        mixed = self._mix(images, order, epoch=epoch, number=number) if self._plan.augment.mixes else None
        return Batch(images, self._shards.labels[positions], positions, self._mask, mixed)

    def _read(self, positions: NDArray[np.int64], epoch: int, images: Images) -> None:
        """Write the pages `positions` with the epoch's changes into `images`."""
        self._shards.gather(positions, images)
        if self._plan.augment.active:
            augment(images, self._plan.augment, seed=self._plan.seed, epoch=epoch, positions=positions)

    def _mix(self, images: Images, order: NDArray[np.int64], *, epoch: int, number: int) -> Mix:
        """Mix each of `images` with its partner; `order`: the pages of the global batch, int64 [global batch]."""
        part, plan = self._part, self._plan
        places = range(part.start, part.stop)
        start, size = (plan.seed, epoch, number), self._shards.image_shape[:2]
        mixed = plan_mix(plan.augment, places, start=start, batch=plan.global_batch, size=size)
        partners = self._partners(images, order, mixed, epoch)
        mix(images, partners, mixed)
        pages = order[mixed.partners]
        return Mix(self._shards.labels[pages], pages, mixed.shares)

    def _partners(self, images: Images, order: NDArray[np.int64], mixed: MixPlan, epoch: int) -> Images:
        """The partners of `images`, as these were before mixing; arbitrary rows where a page is not mixed.

        Pages of this rank are copied. Those of other ranks are read and changed here too, which gives the same pixels.
        """
        if not hasattr(self._scratch, "images"):
            # One for each thread, since fresh memory costs more than the copy.
            self._scratch.images = np.empty(self.image_shape, np.uint8)
        partners: Images = self._scratch.images
        needed = mixed.shares < 1
        own = (mixed.partners >= self._part.start) & (mixed.partners < self._part.stop)
        for row in np.flatnonzero(needed & own):
            partners[row] = images[mixed.partners[row] - self._part.start]
        others = np.flatnonzero(needed & ~own)
        if len(others):
            read = np.empty((len(others), *self._shards.image_shape), np.uint8)
            self._read(order[mixed.partners[others]], epoch, read)
            partners[others] = read
        return partners


class _Orders:
    """The orders of the last two epochs; at an epoch's end, threads work on both."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._kept: dict[int, NDArray[np.int64]] = {}
        self._lock = threading.Lock()

    def of(self, epoch: int) -> NDArray[np.int64]:
        """The order of `epoch`, int64 [count], computed once."""
        with self._lock:
            if epoch not in self._kept:
                for old in sorted(self._kept)[:-1]:
                    del self._kept[old]
                self._kept[epoch] = epoch_order(self._count, self._seed, epoch)
            return self._kept[epoch]
