"""The order of examples: exact arithmetic, and the quality of the shuffle."""

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.shards.order import (
    BLOCK,
    WINDOW,
    epoch_order,
    evaluation_batches,
    evaluation_slice,
    rank_slice,
    steps_per_epoch,
)


@pytest.mark.parametrize("count", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, WINDOW, WINDOW + 1, 3 * WINDOW + 77])
def test_every_epoch_is_a_permutation(count: int) -> None:
    for epoch in (0, 1, 1000):
        assert np.array_equal(np.sort(epoch_order(count, 1, epoch)), np.arange(count))


def test_order_never_changes() -> None:
    # Written down once: a run that is resumed with another version of a library must see the same order.
    assert epoch_order(12, seed=1, epoch=0).tolist() == [6, 2, 3, 1, 7, 0, 9, 10, 5, 4, 11, 8]
    assert epoch_order(12, seed=1, epoch=1).tolist() == [5, 2, 8, 10, 0, 1, 7, 11, 4, 9, 6, 3]
    assert epoch_order(12, seed=2, epoch=0).tolist() == [9, 8, 1, 0, 3, 11, 6, 7, 5, 10, 4, 2]


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(-2, 8) for epoch in range(10)}
    assert len(orders) == 100


def test_small_sets_are_shuffled_uniformly() -> None:
    # Each of 6 examples stands at each of 6 places in about a sixth of 6,000 epochs.
    places = np.zeros((6, 6))
    for epoch in range(6000):
        places[epoch_order(6, 3, epoch), np.arange(6)] += 1
    assert np.abs(places - 1000).max() < 5 * np.sqrt(1000)


def test_neighbors_differ_between_epochs() -> None:
    count = 2 * WINDOW
    neighbors = []
    for epoch in range(3):
        order = epoch_order(count, 1, epoch)
        neighbors.append({frozenset(pair) for pair in zip(order[:-1].tolist(), order[1:].tolist(), strict=True)})
    for first, second in [(0, 1), (1, 2), (0, 2)]:
        # Chance alone would repeat about two of 32,767 pairs, blocks raise that a little.
        assert len(neighbors[first] & neighbors[second]) < 40


def test_no_class_runs() -> None:
    # 16 classes in sorted order on disk, the worst case; in every batch of 128 all of them stand near 8 times.
    count, classes = WINDOW, 16
    labels = np.arange(count) * classes // count
    shuffled = labels[epoch_order(count, 1, 5)]
    counts = np.stack([np.bincount(batch, minlength=classes) for batch in shuffled.reshape(-1, 128)])
    expected = 128 / classes
    chi_squared = ((counts - expected) ** 2 / expected).sum(axis=1)
    # 15 degrees of freedom: mean 15, and 99.9 % below 37.7.
    assert 13.5 < chi_squared.mean() < 16.5
    assert (chi_squared > 37.7).mean() < 0.02
    same = (shuffled[1:] == shuffled[:-1]).mean()
    assert abs(same - 1 / classes) < 0.01


def test_large_sets_are_read_block_by_block() -> None:
    count = 5 * WINDOW + 1000
    order = epoch_order(count, 1, 2)
    seen: set[int] = set()
    for start in range(0, count, WINDOW):
        blocks = set((order[start : start + WINDOW] // BLOCK).tolist())
        # A window holds complete blocks; the short last block of the set may shift one over a window's edge.
        assert len(blocks) <= WINDOW // BLOCK + 1
        assert len(blocks & seen) <= 1
        seen |= blocks
    # Blocks come from all parts of the set: the first window is no run of the disk.
    assert np.ptp(order[:WINDOW]) > 0.9 * count


@pytest.mark.parametrize(
    ("count", "batch", "steps"),
    [(128, 128, 1), (255, 128, 1), (256, 128, 2), (320_000, 128, 2500), (7, 1, 7)],
)
def test_steps(count: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(count, batch) == steps


def test_no_step_is_an_error() -> None:
    with pytest.raises(UserError, match="global_batch: 128 is more than the 100 training pages"):
        steps_per_epoch(100, 128)
    with pytest.raises(UserError, match="must be at least 1"):
        steps_per_epoch(100, 0)


@pytest.mark.parametrize(
    ("batch", "size", "bounds"),
    [
        (128, 1, [(0, 128)]),
        (128, 2, [(0, 64), (64, 128)]),
        # 10 over 3: parts of 3, 3 and 4.
        (10, 3, [(0, 3), (3, 6), (6, 10)]),
        (4, 4, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        (7, 4, [(0, 1), (1, 3), (3, 5), (5, 7)]),
    ],
)
def test_rank_slices(batch: int, size: int, bounds: list[tuple[int, int]]) -> None:
    slices = [rank_slice(batch, rank, size) for rank in range(size)]
    assert [(part.start, part.stop) for part in slices] == bounds


def test_more_ranks_than_examples_in_a_batch() -> None:
    with pytest.raises(UserError, match="global_batch: 3 is less than the 4 workers"):
        rank_slice(3, 0, 4)
    with pytest.raises(ValueError, match="rank 4 of 4"):
        rank_slice(8, 4, 4)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 31, 32, 33, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("batch", [1, 4, 32])
def test_evaluation_covers_each_example_once(count: int, size: int, batch: int) -> None:
    parts = [evaluation_slice(count, rank, size, batch=batch) for rank in range(size)]
    assert [place for part in parts for place in range(count)[part]] == list(range(count))
    longest = max(part.stop - part.start for part in parts)
    assert all(part.start % batch == 0 or part.start == count for part in parts), "a batch lies on one rank"
    batches = evaluation_batches(count, batch, size)
    assert batches * batch >= longest > (batches - 1) * batch or batches == longest == 0


@pytest.mark.parametrize(
    ("count", "batch", "size", "batches"),
    [(100, 32, 1, 4), (96, 32, 1, 3), (97, 32, 2, 2), (1, 32, 8, 1), (64, 32, 2, 1), (65, 32, 2, 2), (97, 16, 3, 3)],
)
def test_evaluation_batches(count: int, batch: int, size: int, batches: int) -> None:
    assert evaluation_batches(count, batch, size) == batches
