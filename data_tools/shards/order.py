"""The order of examples as arithmetic: a permutation from (seed, epoch), intervals for ranks and batches."""

import math

import numpy as np
from numpy.typing import NDArray

from data_tools.errors import UserError

BLOCK = 64
"""Consecutive examples on disk that stay in one window of an epoch."""
WINDOW = 256 * BLOCK
"""Examples that are shuffled freely together: 1 GiB of raw 256 x 256 gray pages."""

_UINT64 = NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which epoch `epoch` visits examples 0..count-1; int64 [count], a permutation.

    Up to WINDOW examples, a uniform shuffle. Beyond, blocks of BLOCK consecutive examples are shuffled, then the
    examples of each window of WINDOW, so a reader needs WINDOW examples in memory (or page cache) at a time and reads
    each block once. Examples on disk are already in the pseudo-random order of their hashed ids. The order does not
    depend on ranks, world size or state; the numbers come from SplitMix64 and do not change with NumPy's version.
    """
    blocks = np.argsort(_keys(-(-count // BLOCK), seed, epoch, stream=0), kind="stable")
    order = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
    order = order[order < count]
    keys = _keys(count, seed, epoch, stream=1)
    for start in range(0, count, WINDOW):
        window = slice(start, start + WINDOW)
        order[window] = order[window][np.argsort(keys[window], kind="stable")]
    return order.astype(np.int64, copy=False)


PAGE_STREAM, PLACE_STREAM, BATCH_STREAM = 2, 3, 4
"""Streams of `uniform`: by page number, by place in the epoch, by batch of the epoch. The order itself uses 0 and 1."""


def uniform(
    seed: int, epoch: int, positions: NDArray[np.int64], count: int, *, stream: int = PAGE_STREAM
) -> NDArray[np.float64]:
    """`count` pseudo-random numbers in [0, 1) for each of `positions` int64 [n] in an epoch, float64 [n, count].

    The first ones do not depend on `count`; streams are independent of each other.
    """
    state = _state(seed, epoch, stream)
    rows = _mix(state + positions.astype(np.uint64) * _GOLDEN)
    numbers = _mix(rows[:, None] + np.arange(count, dtype=np.uint64) * _GOLDEN)
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _keys(count: int, seed: int, epoch: int, *, stream: int) -> _UINT64:
    """Pseudo-random uint64 [count]."""
    return _mix(_state(seed, epoch, stream) + np.arange(count, dtype=np.uint64) * _GOLDEN)


def _state(seed: int, epoch: int, stream: int) -> _UINT64:
    state = np.zeros(1, np.uint64)
    for word in (seed, epoch, stream):
        state = _mix(state ^ np.uint64(word & (2**64 - 1)))
    return state


def _mix(value: _UINT64) -> _UINT64:
    """SplitMix64's step and finalizer (Steele, Lea and Flood 2014), modulo 2^64."""
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def steps_per_epoch(count: int, global_batch: int) -> int:
    """Complete batches in an epoch; the remaining examples, different ones in each epoch, are skipped.

    Raises:
        UserError: fewer examples than one global batch.
    """
    if global_batch < 1:
        raise UserError(f"global_batch: {global_batch} must be at least 1")
    steps = count // global_batch
    if steps == 0:
        raise UserError(f"global_batch: {global_batch} is more than the {count} training pages")
    return steps


def rank_slice(global_batch: int, rank: int, size: int) -> slice:
    """The part of each global batch for rank `rank` of `size`; part sizes differ by at most one.

    Raises:
        UserError: fewer examples in the batch than ranks.
    """
    if global_batch < size:
        raise UserError(f"global_batch: {global_batch} is less than the {size} workers; each needs a page")
    return _share(global_batch, rank, size)


def evaluation_slice(count: int, rank: int, size: int, *, batch: int) -> slice:
    """The examples that rank `rank` of `size` evaluates, in the order on disk; parts do not overlap.

    Parts are complete batches of `batch`: for any number of ranks, an example has the same position in the same batch,
    so its output has the same bits.
    """
    part = _share(math.ceil(count / batch), rank, size)
    return slice(min(part.start * batch, count), min(part.stop * batch, count))


def evaluation_batches(count: int, batch: int, size: int) -> int:
    """Batches of an evaluation on every rank: the number that the longest part needs."""
    return math.ceil(math.ceil(count / batch) / size)


def _share(count: int, rank: int, size: int) -> slice:
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} of {size}")
    return slice(count * rank // size, count * (rank + 1) // size)
