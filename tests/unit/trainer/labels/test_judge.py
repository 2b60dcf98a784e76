"""Judging by features: no page's own label counts, neighbors are other pages, components are repeatable."""

import numpy as np
import pytest

from trainer.labels.features import projection
from trainer.labels.judge import cross_fitted, nearest


def made(pages: int = 90, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    labels = np.arange(pages) % classes
    features = (generator.normal(0, 1, (pages, 8)) + 4 * np.eye(classes, 8)[labels]).astype(np.float32)
    return features, labels, np.arange(pages) // classes % 5


def test_a_pages_own_label_does_not_count() -> None:
    features, labels, folds = made()
    changed = labels.copy()
    here = folds == 2
    changed[here] = (labels[here] + 1) % 3
    before, after = (cross_fitted(features, given, folds, classes=3) for given in (labels, changed))
    assert np.array_equal(before[here], after[here])
    assert not np.array_equal(before[~here], after[~here])
    assert (before.argmax(axis=1) == labels).mean() > 0.95
    assert before.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_progress_and_a_single_fold() -> None:
    features, labels, folds = made()
    done: list[int] = []
    cross_fitted(features, labels, folds, classes=3, on_fold=done.append)
    assert done == [1, 2, 3, 4, 5]
    alone = cross_fitted(features, labels, np.zeros(len(labels), np.int64), classes=4)
    assert alone == pytest.approx(np.tile([1 / 3, 1 / 3, 1 / 3, 0], (len(labels), 1)))


@pytest.mark.parametrize(("known", "columns"), [(5, 3), (3, 2), (1, 0)])
def test_neighbors_are_other_pages(known: int, columns: int) -> None:
    angles = np.arange(known) * 0.3
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    places, similar = nearest(rows[:1] * 7, rows, count=3, excluded=np.array([0]))
    assert places.tolist() == [list(range(1, columns + 1))]
    assert similar[0] == pytest.approx(np.cos(angles[1 : columns + 1]), abs=1e-6)
    free, _ = nearest(rows[:1], rows, count=3, excluded=np.array([-1]))
    assert free.tolist() == [list(range(columns))]


def test_components_keep_the_distances_of_the_sample() -> None:
    raw = np.random.default_rng(1).normal(3, 2, (20, 300)).astype(np.float32)
    found = projection(raw).of(raw)
    assert found.shape == (20, 19)
    assert (found**2).mean() == pytest.approx(1, rel=1e-3)
    standard = (raw - raw.mean(axis=0)) / (raw.std(axis=0) + 1e-6)
    ratio = np.linalg.norm(found[0] - found[7]) / np.linalg.norm(standard[0] - standard[7])
    other = np.linalg.norm(found[3] - found[11]) / np.linalg.norm(standard[3] - standard[11])
    assert ratio == pytest.approx(other, rel=1e-3)
    assert projection(raw, dimensions=4).of(raw).shape == (20, 4)


@pytest.mark.parametrize("raw", [np.ones((3, 6), np.float32), np.ones((1, 6), np.float32)])
def test_pages_that_are_all_alike(raw: np.ndarray) -> None:
    assert np.isfinite(projection(raw).of(raw)).all()
