"""Metrics against values computed by hand or taken from the papers that the docstrings name."""

import math

import numpy as np
import pytest

from trainer.scoring import metrics as scores

# Four pages, three classes. Pages 0 and 1 are right, on page 2 the label is second, on page 3 class 0 wins a tie.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
LABELS = np.array([0, 1, 1, 1])


def test_accuracy_counts_a_tie_for_the_first_class() -> None:
    assert scores.accuracy(LABELS, PROBABILITIES) == 0.5


@pytest.mark.parametrize(("k", "share"), [(1, 0.5), (2, 1.0), (3, 1.0)])
def test_top_k(k: int, share: float) -> None:
    assert scores.top_k(LABELS, PROBABILITIES, k) == share


def test_top_1_is_accuracy_even_if_all_classes_are_equal() -> None:
    uniform = np.full((3, 3), 1 / 3)
    labels = np.array([0, 1, 2])
    assert scores.top_k(labels, uniform, 1) == scores.accuracy(labels, uniform) == pytest.approx(1 / 3)
    assert scores.top_k(labels, uniform, 2) == pytest.approx(2 / 3)


def test_negative_log_likelihood() -> None:
    expected = -(math.log(0.7) + math.log(0.8) + math.log(0.3) + math.log(0.4)) / 4
    assert scores.negative_log_likelihood(LABELS, PROBABILITIES) == pytest.approx(expected, abs=1e-12)


def test_negative_log_likelihood_of_a_zero_is_finite() -> None:
    loss = scores.negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]], dtype=np.float32))
    assert loss == pytest.approx(-math.log(1e-12))


def test_calibration_error_by_hand() -> None:
    # With 2 bins, (0, 0.5] holds pages 2 and 3 (confidence 0.5 and 0.4, none right), (0.5, 1] pages 0 and 1.
    expected = (abs(0 - 0.9) + abs(2 - 1.5)) / 4
    assert scores.expected_calibration_error(LABELS, PROBABILITIES, bins=2) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [1, 2, 15, 16])
def test_calibration_error_of_certain_and_right_is_zero(classes: int) -> None:
    assert scores.expected_calibration_error(np.arange(classes), np.eye(classes)) == 0.0


def test_confusion_has_labels_in_rows() -> None:
    assert scores.confusion(LABELS, PROBABILITIES).tolist() == [[1, 0, 0], [2, 1, 0], [0, 0, 0]]


def test_per_class_figures() -> None:
    figures = scores.per_class(np.array([[1, 0, 0], [2, 1, 0], [0, 0, 0]]))
    assert figures[0] == scores.ClassFigures(precision=1 / 3, recall=1.0, f1=0.5, count=1)
    assert figures[1] == scores.ClassFigures(precision=1.0, recall=1 / 3, f1=0.5, count=3)
    assert figures[2] == scores.ClassFigures(precision=None, recall=None, f1=None, count=0)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # All right: the mirror of (0, 20).
        (20, 20, 0.8389, 1.0000),
    ],
)
def test_wilson_interval(hits: int, count: int, low: float, high: float) -> None:
    assert scores.wilson_interval(hits, count) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("hits", "count"), [(0, 0), (3, 2), (-1, 4)])
def test_wilson_interval_rejects_an_invalid_proportion(hits: int, count: int) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        scores.wilson_interval(hits, count)


@pytest.mark.parametrize(
    ("first", "second", "exact", "mid"),
    [
        (0, 0, 1.0, 1.0),
        # 2·(1/2)^5, minus half of its only term for mid-p.
        (0, 5, 2 / 32, 1 / 32),
        # Fagerland et al. 2013, table 3 (1 against 7): exact 0.0703, mid-p 0.0391.
        (1, 7, 2 * (1 + 8) / 256, (2 * 1 + 8) / 256),
        (7, 1, 2 * (1 + 8) / 256, (2 * 1 + 8) / 256),
        # Equal counts: every other outcome is at least as extreme; mid-p counts half of this one.
        (1, 1, 1.0, 0.75),
        (2, 2, 1.0, 1 - 0.5 * 6 / 16),
    ],
)
def test_mcnemar(first: int, second: int, exact: float, mid: float) -> None:
    assert scores.mcnemar(first, second) == pytest.approx((exact, mid), abs=1e-12)


def test_mcnemar_of_thousands_of_pages_agrees_with_the_normal_approximation() -> None:
    exact, mid = scores.mcnemar(4900, 5100)
    continuity_corrected = math.erfc((200 - 1) / math.sqrt(10_000) / math.sqrt(2))
    plain = math.erfc(200 / math.sqrt(10_000) / math.sqrt(2))
    assert exact == pytest.approx(continuity_corrected, rel=2e-3)
    assert mid == pytest.approx(plain, rel=2e-3)


def test_bootstrap_has_the_spread_of_the_mean() -> None:
    values = np.repeat([0.0, 1.0], [100, 300])
    means = scores.bootstrap_means(values[:, None], seed=1, resamples=20_000)[:, 0]
    assert means.mean() == pytest.approx(0.75, abs=1e-3)
    assert means.std() == pytest.approx(math.sqrt(0.75 * 0.25 / 400), rel=0.03)
    low, high = scores.percentile_interval(means)
    assert (low, high) == pytest.approx((0.7075, 0.7925), abs=0.003)


def test_bootstrap_depends_on_the_seed_and_not_on_the_order() -> None:
    generator = np.random.default_rng(7)
    columns = generator.integers(0, 2, (50, 3))
    shuffled = columns[generator.permutation(50)]
    first = scores.bootstrap_means(columns, seed=3)
    assert np.array_equal(first, scores.bootstrap_means(shuffled, seed=3))
    assert not np.array_equal(first, scores.bootstrap_means(columns, seed=4))


def test_bootstrap_resamples_the_models_together() -> None:
    right = np.random.default_rng(5).integers(0, 2, 200)
    means = scores.bootstrap_means(np.stack([right, 1 - right, right], axis=1), seed=2)
    assert np.allclose(means[:, 0] + means[:, 1], 1)
    assert np.array_equal(means[:, 0], means[:, 2])


def test_paired_test_by_hand() -> None:
    first = np.array([True] * 8 + [False] * 2)
    second = np.array([True] * 5 + [False] * 4 + [True])
    result = scores.paired_test(first, second, seed=1)
    assert (result.only_first, result.only_second) == (3, 1)
    assert result.difference == pytest.approx(0.2)
    assert result.p_exact == pytest.approx(2 * (1 + 4) / 16)
    assert result.p_mid == pytest.approx((2 * 1 + 4) / 16)
    low, high = result.difference_interval
    assert -0.4 <= low < 0.2 < high <= 0.6


def test_equal_models_do_not_differ() -> None:
    right = np.array([True, False, True])
    result = scores.paired_test(right, right, seed=1)
    assert (result.difference, result.difference_interval, result.p_mid) == (0.0, (0.0, 0.0), 1.0)


def test_summary_is_plain_data_and_names_the_classes() -> None:
    figures = scores.summary(LABELS, PROBABILITIES, class_ids=[3, 9, 4])
    assert figures["count"] == 4
    assert figures["accuracy"] == 0.5
    assert figures["top_k"] == {"2": 1.0}
    assert [row["class_id"] for row in figures["per_class"]] == [3, 9, 4]
    assert figures["confusion"] == [[1, 0, 0], [2, 1, 0], [0, 0, 0]]


def test_summary_without_pages_has_no_figures() -> None:
    assert scores.summary(LABELS[:0], PROBABILITIES[:0], class_ids=[1, 2, 3]) == {"count": 0}


@pytest.mark.parametrize(
    ("matrix", "recall", "f1"),
    [
        ([[5, 0], [0, 5]], 1.0, 1.0),
        ([[90, 0], [10, 0]], 0.5, (180 / 190 + 0) / 2),  # Always the common class: 90 % right.
        ([[8, 2, 0], [1, 4, 0], [0, 0, 0]], (0.8 + 0.8) / 2, (16 / 19 + 8 / 11) / 2),  # A class without pages.
        ([[8, 1, 1], [0, 5, 0], [0, 0, 0]], (0.8 + 1.0) / 2, (16 / 18 + 10 / 11 + 0) / 3),  # ... that is predicted.
    ],
)
def test_balanced_accuracy_and_macro_f1(matrix: list[list[int]], recall: float, f1: float) -> None:
    cells = np.array(matrix)
    assert scores.balanced_accuracy(cells) == pytest.approx(recall)
    assert scores.macro_f1(cells) == pytest.approx(f1)
    labels = np.repeat(np.arange(len(cells)), cells.sum(axis=1))
    predicted = np.concatenate([np.repeat(np.arange(len(cells)), row) for row in cells])
    figures = scores.summary(labels, np.eye(len(cells))[predicted], class_ids=range(len(cells)))
    assert (figures["balanced_accuracy"], figures["macro_f1"]) == pytest.approx((recall, f1))
