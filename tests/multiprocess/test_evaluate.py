"""Evaluation under real horovodrun: each page once, and the same bits for any number of workers."""

from pathlib import Path

import numpy as np
import pytest

from tests.multiprocess.programs.evaluate_sets import CLASSES, COUNTS, MadePages
from trainer.scoring.metrics import summary


@pytest.fixture(scope="module")
def by_size(compared_worlds: dict[int, Path]) -> dict[int, dict[str, np.ndarray]]:
    """Softmax outputs [count, classes] by count, from worlds of each size."""
    outputs = {}
    for size, folder in compared_worlds.items():
        with np.load(folder / "evaluated.npz") as file:
            assert int(file["size"]) == size
            outputs[size] = {name: file[name] for name in file if name != "size"}
    return outputs


@pytest.mark.parametrize("count", COUNTS)  # 1 and 3 are fewer pages than four workers; 7 and 97 are primes
def test_every_page_once_and_the_same_bits(by_size: dict[int, dict[str, np.ndarray]], count: int) -> None:
    one = by_size[1][str(count)]
    assert one.shape == (count, CLASSES)
    assert len(np.unique(one, axis=0)) == count, "all pages differ, so no page can stand in for another"
    for size in by_size:
        assert by_size[size][str(count)].tobytes() == one.tobytes(), f"{size} workers"


def test_the_figures_do_not_depend_on_the_world_and_a_class_may_be_missing(
    by_size: dict[int, dict[str, np.ndarray]],
) -> None:
    labels = MadePages(97).labels
    figures = [summary(labels, outputs["97"], class_ids=range(CLASSES)) for outputs in by_size.values()]
    assert figures[0] == figures[1] == figures[2]
    assert (figures[0]["count"], figures[0]["per_class"][3]["count"]) == (97, 0)
    assert figures[0]["per_class"][3]["recall"] is None
    assert sum(row["count"] for row in figures[0]["per_class"]) == 97
