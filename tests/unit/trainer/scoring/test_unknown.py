"""Each score ranks a page that the models disagree on above one that they agree on."""

import numpy as np
import pytest

from trainer.scoring.unknown import SCORES, contrast, disagreement, mean_entropy, pool_energy

SURE = [[0.98, 0.01, 0.01]] * 3
DIVIDED = [[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98]]
DOUBTFUL = [[0.34, 0.33, 0.33]] * 3


@pytest.mark.parametrize("name", SCORES)
def test_a_sure_page_has_the_lowest_score(name: str) -> None:
    members = np.array([SURE, DIVIDED])
    sure, divided = SCORES[name](members, members.mean(axis=1))
    assert sure < divided


def test_shared_doubt_is_entropy_but_not_disagreement() -> None:
    members = np.array([DOUBTFUL, DIVIDED])
    stack = members.mean(axis=1)
    for score in (disagreement, pool_energy):
        shared, divided = score(members, stack)
        assert shared == pytest.approx(0, abs=1e-9)
        assert divided > 0.5
    assert mean_entropy(members, stack) == pytest.approx([np.log(3)] * 2, abs=0.01)


def test_contrast_of_blank_black_and_printed_pages() -> None:
    pages = np.full((3, 8, 8, 1), 255, np.uint8)
    pages[1] = 0
    pages[2, 2:4] = 0
    assert contrast(pages).tolist() == pytest.approx([0, 0, 255 * (0.25 * 0.75) ** 0.5])
    assert contrast(pages[:0]).shape == (0,)


@pytest.mark.parametrize("name", SCORES)
def test_exact_zeros_and_ones_are_finite(name: str) -> None:
    members = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]], np.float32)
    scores = SCORES[name](members, members.mean(axis=1))
    assert np.isfinite(scores).all() and scores.shape == (2,)
