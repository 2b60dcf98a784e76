"""Pages to label next: uncertain ones that differ from each other and from labelled pages; always the same ones."""

import numpy as np
import pytest

from trainer.labels.choose import choose, uncertainty

AXES = np.eye(4, dtype=np.float32)


def test_uncertainty_is_the_missing_lead() -> None:
    found = uncertainty(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.5, 0.3]]))
    assert found == pytest.approx([0, 1, 0.8])
    assert uncertainty(np.array([[1.0]])) == pytest.approx([0])


def test_near_copies_are_chosen_once() -> None:
    features = np.stack([AXES[0], AXES[0], AXES[1], AXES[2]])
    chosen, scores = choose(np.array([0.9, 0.9, 0.5, 0.4]), features, np.zeros((0, 4), np.float32), most=3)
    assert chosen.tolist() == [0, 2, 3]
    assert (np.diff(scores) <= 0).all()


def test_pages_like_labelled_ones_come_last() -> None:
    chosen, scores = choose(np.array([0.9, 0.6]), AXES[:2], AXES[:1], most=2)
    assert chosen.tolist() == [1, 0]
    assert scores == pytest.approx([0.3, 0.0])


@pytest.mark.parametrize(("most", "found"), [(1, 1), (5, 4), (0, 0)])
def test_at_most_so_many(most: int, found: int) -> None:
    chosen, scores = choose(np.full(4, 0.5), AXES, AXES[:0], most=most)
    assert len(chosen) == len(scores) == found


def test_scores_never_rise_and_the_choice_is_repeatable() -> None:
    generator = np.random.default_rng(2)
    features, weights = generator.normal(0, 1, (500, 6)).astype(np.float32), generator.random(500)
    first, scores = choose(weights, features, features[:20], most=20)
    assert (np.diff(scores) <= 1e-12).all()
    assert len(set(first.tolist())) == 20
    assert choose(weights, features, features[:20], most=20)[0].tolist() == first.tolist()
    assert weights[first].mean() > weights.mean()
