"""Pages combined into documents, and the accuracy over documents."""

import numpy as np
import pytest

from trainer.scoring.documents import by_document, combined, document_figures


def test_pages_are_combined_by_their_mean_log_probability() -> None:
    pages = np.array([[0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    expected = np.exp(np.log(pages).mean(axis=0))
    assert combined(pages) == pytest.approx(expected / expected.sum())
    # Two pages lean to the second class, and the sure first one outweighs them; a majority vote would not.
    assert combined(pages).argmax() == 0
    assert combined(pages[[2, 0, 1]]) == pytest.approx(combined(pages))
    assert combined(pages[:1]) == pytest.approx(pages[0])
    # An exact zero of one page is no veto of infinite weight.
    assert np.isfinite(combined(np.array([[0.0, 1.0], [0.9, 0.1]]))).all()


IDS = ["a.pdf#page=2", "b.png", "a.pdf#page=1", "c.tif#page=1", "c.tif#page=2"]
LABELS = np.array([0, 1, 0, 1, 0])
SOFTMAX = np.array([[0.4, 0.6], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]], np.float32)


def test_pages_are_joined_by_their_ids_in_any_order() -> None:
    found = by_document(IDS, LABELS, SOFTMAX)
    assert list(found.names) == ["a.pdf", "b.png", "c.tif"]
    assert found.pages.tolist() == [2, 1, 2]
    assert found.labels.tolist() == [0, 1, -1]
    order = np.array([4, 2, 0, 1, 3])
    other = by_document([IDS[row] for row in order], LABELS[order], SOFTMAX[order])
    assert other.probabilities[1] == pytest.approx(found.probabilities[0])


def test_document_accuracy() -> None:
    figures = document_figures(IDS, LABELS, SOFTMAX)
    assert figures is not None
    assert (figures["count"], figures["several_pages"], figures["several_labels"]) == (2, 2, 1)
    assert figures["accuracy"] == 1.0
    assert figures["accuracy_interval"][0] < 1.0
    wrong = document_figures(IDS[:3], 1 - LABELS[:3], SOFTMAX[:3])
    assert wrong is not None
    assert wrong["accuracy"] == 0.0


def test_without_a_document_of_several_pages_there_is_nothing_to_report() -> None:
    assert document_figures(["a.png", "b.png"], np.array([0, 1]), SOFTMAX[:2]) is None
    assert document_figures([], np.array([], np.int64), SOFTMAX[:0]) is None
    # With labels that differ inside every document there is no accuracy.
    figures = document_figures(IDS[3:], LABELS[3:], SOFTMAX[3:])
    assert figures is not None
    assert "accuracy" not in figures
