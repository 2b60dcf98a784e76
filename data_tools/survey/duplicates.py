"""Search for exact and near duplicates among hundreds of thousands of pages: pure functions on digests and hashes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

_BAND_BITS = 16
_PAIRS_AT_ONCE = 1 << 18


class Pairs(NamedTuple):
    """Pairs of page positions, int64 [n, 2], each once with first < second, and their distances in bits, int64 [n]."""

    pages: Indices
    distances: Indices


def near_pairs(hashes: Hashes, *, limit: int) -> Pairs:
    """Pairs of `hashes` uint64 [n, w >= 2] that differ in at most `limit` bits, sorted by page.

    Compares only pages that differ in at most one bit in one of 16 bands of 16 bits. By the pigeonhole principle, this
    finds every pair within `limit` that differs in at most 15 of the first 128 bits, and most other pairs. The work
    grows with the number of pages that share a band, not with the square of all pages.
    """
    count = len(hashes)
    found = [np.zeros((0, 2), np.int64)]
    for band in bands(hashes).T:
        order = np.argsort(band, kind="stable")
        for pairs in _pairs_of_band(band[order], hashes[order], limit):
            found.append(np.sort(order[pairs], axis=1))
    keys = np.unique(np.concatenate([pairs[:, 0] * count + pairs[:, 1] for pairs in found]))
    pages = np.stack([keys // max(count, 1), keys % max(count, 1)], axis=1)
    return Pairs(pages, distances(hashes, pages))


def bands(hashes: Hashes) -> NDArray[np.uint16]:
    """The first 128 bits as 16 bands of 16 bits, uint16 [n, 16]: eight words and the eight diagonals through them.

    A diagonal mixes bits of all words, so it finds most of the pairs that the words miss.
    """
    words = hashes[:, :2].copy().view(np.uint16)
    diagonals = np.zeros_like(words)
    for bit in range(_BAND_BITS):
        diagonals |= np.roll(words, -bit, axis=1) & np.uint16(1 << bit)
    return np.concatenate([words, diagonals], axis=1)


def distances(hashes: Hashes, pages: Indices) -> Indices:
    """Differing bits of each pair of `pages` int64 [n, 2]; int64 [n]."""
    counts = np.empty(len(pages), np.int64)
    for first in range(0, len(pages), _PAIRS_AT_ONCE):
        part = pages[first : first + _PAIRS_AT_ONCE]
        differing = hashes[part[:, 0]] ^ hashes[part[:, 1]]
        counts[first : first + len(part)] = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
    return counts


def _pairs_of_band(keys: NDArray[np.uint16], hashes: Hashes, limit: int) -> Iterator[Indices]:
    """Positions of near pairs among `hashes` whose keys differ in at most one bit; both are sorted by `keys`."""
    edges = np.searchsorted(keys, np.arange((1 << _BAND_BITS) + 1))
    positions = np.arange(len(keys))
    yield from _compare(hashes, positions, (positions + 1, edges[keys.astype(np.int64) + 1]), limit)
    for bit in range(_BAND_BITS):
        # Each pair of buckets once: from the bucket whose bit is clear.
        clear = positions[(keys >> bit) & 1 == 0]
        partner = keys[clear].astype(np.int64) | (1 << bit)
        yield from _compare(hashes, clear, (edges[partner], edges[partner + 1]), limit)


def _compare(hashes: Hashes, positions: Indices, ranges: tuple[Indices, Indices], limit: int) -> Iterator[Indices]:
    """Near pairs of each position with the positions start:end of its range, in chunks of candidates."""
    starts, ends = ranges
    lengths = ends - starts
    columns = [np.ascontiguousarray(hashes[:, word]) for word in range(hashes.shape[1])]
    some = lengths > 0
    positions, starts, lengths = positions[some], starts[some], lengths[some]
    before = np.cumsum(lengths) - lengths
    first = 0
    while first < len(positions):
        last = max(int(np.searchsorted(before, before[first] + _PAIRS_AT_ONCE)), first + 1)
        part = slice(first, last)
        left = np.repeat(positions[part], lengths[part])
        shift = starts[part] - (before[part] - before[first])
        right = np.arange(len(left)) + np.repeat(shift, lengths[part])
        near = _distance(columns, left, right) <= limit
        yield np.stack([left[near], right[near]], axis=1)
        first = last


def _distance(columns: Sequence[Hashes], left: Indices, right: Indices) -> NDArray[np.uint16]:
    """Differing bits of each pair; word by word, three times faster than with rows of hashes."""
    counts = np.zeros(len(left), np.uint16)
    for column in columns:
        counts += np.bitwise_count(column[left] ^ column[right])
    return counts


def nearest(pairs: Pairs, *, each: int) -> Pairs:
    """The pairs that are among the `each` nearest pairs of one of their pages.

    Bounds the number of detailed comparisons when hundreds of pages look alike.
    """
    if len(pairs.pages) == 0:
        return pairs
    ends = np.concatenate([pairs.pages[:, 0], pairs.pages[:, 1]])
    order = np.lexsort((np.tile(pairs.distances, 2), ends))
    ordered = ends[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ranks = np.arange(len(ordered)) - np.repeat(begins, np.diff(np.r_[begins, len(ordered)]))
    kept = np.unique(order[ranks < each] % len(pairs.pages))
    return Pairs(pairs.pages[kept], pairs.distances[kept])


def connected_groups(count: int, pairs: Indices) -> Indices:
    """Connected components of `count` pages under `pairs` int64 [n, 2]: first page of each group, int64 [count]."""
    groups = np.arange(count)
    while len(pairs):
        both = groups[pairs]
        lower = both.min(axis=1)
        pairs = pairs[both[:, 0] != both[:, 1]]
        np.minimum.at(groups, both.ravel(), np.repeat(lower, 2))
        while not np.array_equal(groups, groups[groups]):
            groups = groups[groups]
    return groups


def first_positions(digests: Sequence[str]) -> Indices:
    """First position of each of `digests`, int64 [n]; exact copies share it."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(digest, place) for place, digest in enumerate(digests)], np.int64)
