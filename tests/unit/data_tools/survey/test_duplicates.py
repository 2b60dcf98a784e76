"""The search for near duplicates against brute force, and what is made of the pairs."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from data_tools.survey.duplicates import Pairs, connected_groups, distances, first_positions, near_pairs, nearest


def random_hashes(count: int, seed: int = 0) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 4), dtype=np.uint64)


def flipped(value: NDArray[np.uint64], bits: list[int]) -> NDArray[np.uint64]:
    result = value.copy()
    for bit in bits:
        result[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return result


def pair_list(pairs: Pairs) -> list[tuple[int, int, int]]:
    return [(*pages, bits) for pages, bits in zip(pairs.pages.tolist(), pairs.distances.tolist(), strict=True)]


WORDS = [range(word * 16, word * 16 + 16) for word in range(8)]
DIAGONAL = [word * 16 + bit for word in range(8) for bit in (word, word + 8)]
TABLE = [
    # (what, flipped bits, limit, found)
    ("the same hash", [], 0, True),
    ("one bit", [5], 0, False),
    ("one bit", [5], 1, True),
    ("many in the second half, which no band covers", list(range(128, 212)), 84, True),
    ("beyond the limit by one", list(range(128, 193)), 64, False),
    ("seven words far off", [bit for word in WORDS[:7] for bit in word[::2]], 56, True),
    ("the last word one bit off as well", [bit for word in WORDS[:7] for bit in word[::2]] + [127], 57, True),
    ("every word one bit off", [word[3] for word in WORDS], 8, True),
    # Fifteen bits: by the pigeonhole principle one of eight words has one at most.
    ("two bits in seven words, one in the last", [bit for word in WORDS for bit in word[:2]][:15], 15, True),
    ("two bits in every word, on few diagonals", [bit for word in WORDS for bit in word[:2]], 16, False),
    ("two bits in every word, all on one diagonal", DIAGONAL, 16, True),
    ("four bits in every word: not looked for", [bit for word in WORDS for bit in word[::4]], 64, False),
]


@pytest.mark.parametrize(("what", "bits", "limit", "found"), TABLE)
def test_which_pairs_are_found(what: str, bits: list[int], limit: int, found: bool) -> None:
    hashes = random_hashes(40)
    hashes[31] = flipped(hashes[7], bits)
    expected = [(7, 31, len(bits))] if found else []
    assert pair_list(near_pairs(hashes, limit=limit)) == expected


def test_clusters_are_found_as_by_brute_force() -> None:
    random = np.random.default_rng(1)
    # Twelve clusters of near hashes, some of them alike to the bit.
    hashes = np.concatenate(
        [
            [flipped(center, list(random.choice(256, n % 5, replace=False))) for n in range(9)]
            for center in random_hashes(12)
        ]
    )
    every = np.array(list(itertools.combinations(range(len(hashes)), 2)))
    near = distances(hashes, every) <= 8
    found = near_pairs(hashes, limit=8)
    assert found.pages.tolist() == every[near].tolist()
    assert found.distances.tolist() == distances(hashes, every)[near].tolist()


def test_a_bounded_number_of_candidates_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.repeat(random_hashes(6), 7, axis=0)
    expected = pair_list(near_pairs(hashes, limit=4))
    assert len(expected) == 6 * 21
    monkeypatch.setattr("data_tools.survey.duplicates._PAIRS_AT_ONCE", 3)
    assert pair_list(near_pairs(hashes, limit=4)) == expected


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pages_for_a_pair(count: int) -> None:
    pairs = near_pairs(random_hashes(count), limit=256)
    assert pairs.pages.shape == (0, 2)
    assert len(nearest(pairs, each=4).pages) == 0


def test_a_hundred_thousand_pages_are_searched_in_seconds() -> None:
    hashes = random_hashes(100_000)
    hashes[-500:] = [flipped(value, [3, 90, 200]) for value in hashes[:500]]
    found = near_pairs(hashes, limit=64)
    assert found.pages.tolist() == [[place, 99_500 + place] for place in range(500)]
    assert set(found.distances.tolist()) == {3}


def test_the_nearest_pairs_of_each_page() -> None:
    pairs = Pairs(np.array([[0, 1], [0, 2], [0, 3], [1, 2], [4, 5]]), np.array([9, 1, 2, 3, 60]))
    # 0-1 is the nearest of neither 0 nor 1; 0-3 is the nearest of 3; far pairs stay where there is no nearer one.
    assert nearest(pairs, each=1).pages.tolist() == [[0, 2], [0, 3], [1, 2], [4, 5]]
    assert nearest(pairs, each=1).distances.tolist() == [1, 2, 3, 60]
    assert nearest(pairs, each=3).pages.tolist() == pairs.pages.tolist()


JOINS = [
    (3, [], [0, 1, 2]),
    (3, [(0, 2)], [0, 1, 0]),
    (5, [(1, 2), (3, 4), (2, 3)], [0, 1, 1, 1, 1]),
    # A chain in the worst order.
    (6, [(4, 5), (3, 4), (2, 3), (1, 2), (0, 1)], [0] * 6),
    (6, [(0, 5), (1, 4), (4, 5)], [0, 0, 2, 3, 0, 0]),
]


@pytest.mark.parametrize(("count", "pairs", "groups"), JOINS)
def test_pairs_join_pages_to_groups(count: int, pairs: list[tuple[int, int]], groups: list[int]) -> None:
    assert connected_groups(count, np.array(pairs, np.int64).reshape(-1, 2)).tolist() == groups


def test_copies_share_the_place_of_the_first() -> None:
    assert first_positions(["a", "b", "a", "c", "b"]).tolist() == [0, 1, 0, 3, 1]
