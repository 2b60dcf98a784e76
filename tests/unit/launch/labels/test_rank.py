"""A ranking from outputs: order over all splits, originals, estimates."""

import numpy as np
import pytest

from launch.labels.rank import joint_counts, judged, order_of, ranked_pages, split_summaries
from launch.labels.ranking import Neighbor
from trainer.labels.recorded import PageOutputs


def outputs(ids: list[str], labels: list[int], own: list[float]) -> PageOutputs:
    """Pages of two classes with the given probability of their own label."""
    rows = np.array([[p, 1 - p] if label == 0 else [1 - p, p] for label, p in zip(labels, own, strict=True)])
    return PageOutputs(np.array(ids), np.array(labels), {"stack": rows, "top": rows[:, ::-1]}, "stack", "predictions")


SPLITS = [
    judged("train", outputs(["b", "a", "c"], [0, 0, 1], [0.25, 0.75, 0.5])),
    judged("val", outputs(["a", "d"], [1, 1], [0.125, 0.75])),
]


def test_all_splits_in_one_order() -> None:
    assert order_of(SPLITS) == [(1, 0), (0, 0), (0, 2), (0, 1), (1, 1)]


def test_pages_of_the_ranking() -> None:
    near = (Neighbor(id="x", label=7, similarity=0.5),)
    found = ranked_pages(
        SPLITS, order_of(SPLITS), class_ids=[3, 7], originals={("train", "b"): 7}, neighbors={("val", "a"): near}
    )
    pages = list(found)
    assert [page.rank for page in pages] == [1, 2, 3, 4, 5]
    assert [page.score for page in pages] == pytest.approx([0.875, 0.75, 0.5, 0.25, 0.25])
    first, second = pages[:2]
    assert (first.id, first.split, first.label, first.original, first.likely) == ("a", "val", 7, 7, 3)
    assert first.nearest == near
    assert (second.id, second.label, second.original) == ("b", 3, 7), "the label in the shards is another one"
    assert second.probabilities == {"stack": (0.25, 0.75), "top": (0.75, 0.25)}
    assert second.nearest == ()


def test_summaries() -> None:
    found = split_summaries(SPLITS)
    assert found["train"]["pages"] == 3
    assert found["val"]["outputs"] == "predictions"
    joint = np.array(joint_counts(SPLITS))
    assert joint.sum() == pytest.approx(5)
    for one in found.values():
        low, high = one["wrong_interval"]
        assert 0 <= low <= one["wrong"] <= high <= 1
