"""The leak-free split: decided by seed and page id alone."""

import numpy as np
import pytest

from trainer.training.split import selection_mask

IDS = [f"pages/{number}.tif" for number in range(4000)]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 1.0)])
def test_the_share_is_kept(share: float, expected: float) -> None:
    assert selection_mask(IDS, share=share, seed=1).mean() == pytest.approx(expected, abs=0.03)


def test_the_order_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(IDS))
    mask = selection_mask(IDS, share=0.5, seed=1)
    assert np.array_equal(selection_mask([IDS[i] for i in order], share=0.5, seed=1), mask[order])


def test_a_page_keeps_its_side_when_the_share_grows() -> None:
    few, many = selection_mask(IDS, share=0.3, seed=1), selection_mask(IDS, share=0.6, seed=1)
    assert not (few & ~many).any()


def test_another_seed_is_another_split() -> None:
    one, two = selection_mask(IDS, share=0.5, seed=1), selection_mask(IDS, share=0.5, seed=2)
    assert (one == two).mean() == pytest.approx(0.5, abs=0.05)


def test_the_split_is_the_same_on_every_machine() -> None:
    mask = selection_mask(IDS[:12], share=0.5, seed=1)
    assert mask.astype(int).tolist() == [0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]


def test_no_page_gives_an_empty_mask() -> None:
    assert selection_mask([], share=0.5, seed=1).shape == (0,)


def test_the_pages_of_a_document_are_on_one_side() -> None:
    ids = [f"{number}.pdf#page={page}" for number in range(200) for page in (1, 2, 3)]
    mask = selection_mask(ids, share=0.5, seed=1).reshape(200, 3)
    assert (mask.all(axis=1) | ~mask.any(axis=1)).all()
    assert np.array_equal(mask[:, 0], selection_mask([f"{number}.pdf" for number in range(200)], share=0.5, seed=1))
