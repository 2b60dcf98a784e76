"""Thresholds hold on new pages as often as promised, and are absent where they cannot be certified."""

import numpy as np
import pytest

from trainer.scoring.thresholds import RISK, alarm_threshold, binomial_tail, fewest_pages, precision_threshold


@pytest.mark.parametrize(
    ("pages", "wrong", "precision", "accepted"),
    [
        (44, (), 0.95, None),  # with every page right, the 90 % lower bound of the precision is 0.949
        (45, (), 0.95, 45),
        (45, (0,), 0.95, None),
        (22, (), 0.9, 22),
        (21, (), 0.9, None),
        (0, (), 0.9, None),
        (100, range(60, 100), 0.95, 60),  # the sequence ends at the first threshold that is not certified
        (400, (), 0.95, 400),
    ],
)
def test_what_can_be_certified(pages: int, wrong: tuple[int, ...], precision: float, accepted: int | None) -> None:
    confidence = np.linspace(0.99, 0.3, pages)
    right = np.ones(pages, np.bool_)
    right[list(wrong)] = False
    found = precision_threshold(confidence, right, precision=precision)
    if accepted is None:
        assert (found.value, found.accepted, found.pages) == (None, 0, pages)
        return
    assert found.accepted == accepted
    assert found.value == confidence[found.accepted - 1]
    assert found.errors == (~right[:accepted]).sum()
    assert binomial_tail(found.errors, found.accepted, 1 - precision) <= RISK


def test_fewest_pages_are_those_of_the_bound() -> None:
    assert [fewest_pages(p) for p in (0.9, 0.95, 0.99)] == [22, 45, 230]


def test_pages_of_equal_confidence_are_accepted_together() -> None:
    confidence = np.array([0.9] * 60 + [0.8] * 60)
    right = np.array([True] * 60 + [False] * 60)
    found = precision_threshold(confidence, right, precision=0.95)
    assert (found.value, found.accepted, found.errors) == (0.9, 60, 0)
    mixed = precision_threshold(np.full(120, 0.7), np.arange(120) % 2 == 0, precision=0.95)
    assert mixed.value is None


def test_the_order_of_the_pages_does_not_matter() -> None:
    generator = np.random.default_rng(1)
    confidence, right = generator.random(300), generator.random(300) < 0.97
    order = generator.permutation(300)
    again = precision_threshold(confidence[order], right[order], precision=0.9)
    assert again == precision_threshold(confidence, right, precision=0.9)


@pytest.mark.parametrize("pages", [60, 150, 350, 800])
def test_the_precision_holds_on_new_pages(pages: int) -> None:
    """A page with confidence c is right with probability c, so the precision above a threshold is known."""
    generator = np.random.default_rng(pages)
    grid = 1 - 0.4 * np.linspace(0, 1, 20_001) ** 2
    missed = certified = 0
    for _ in range(400):
        confidence = 1 - 0.4 * generator.random(pages) ** 2
        found = precision_threshold(confidence, generator.random(pages) < confidence, precision=0.95)
        if found.value is not None:
            certified += 1
            missed += grid[grid >= found.value].mean() < 0.95
    assert missed / 400 <= RISK + 0.03
    assert certified / 400 > {60: 0.0, 150: 0.1, 350: 0.6, 800: 0.8}[pages]


@pytest.mark.parametrize(("pages", "rate", "rank"), [(19, 0.05, 19), (18, 0.05, None), (99, 0.05, 95), (9, 0.5, 5)])
def test_the_alarm_is_a_conformal_quantile(pages: int, rate: float, rank: int | None) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, pages + 1))
    assert alarm_threshold(scores, false_alarms=rate) == rank


def test_false_alarms_keep_their_rate() -> None:
    generator = np.random.default_rng(4)
    rates = []
    for _ in range(500):
        limit = alarm_threshold(generator.normal(size=60), false_alarms=0.1)
        assert limit is not None
        rates.append((generator.normal(size=200) > limit).mean())
    assert 0.08 < np.mean(rates) <= 0.102
