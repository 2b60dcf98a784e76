"""The contrast of the pages of a shard set, by page id."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from data_tools.shards.reader import ShardSet
from trainer.stack.contrast import contrasts_of, holistic_shards, page_contrasts


class Pages:
    """What `contrasts_of` needs of a shard set: 600 pages, page k with k % 7 gray levels between its halves."""

    def __len__(self) -> int:
        return 600

    def page_ids(self, positions: range) -> list[str]:
        return [f"{place}.tif" for place in positions]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        pages = np.zeros((len(rows), 4, 4, 1), np.uint8)
        pages[:, :2] = (rows % 7)[:, None, None, None]
        return pages


def test_each_page_has_its_contrast() -> None:
    seen: list[int] = []
    found = contrasts_of(cast(ShardSet, Pages()), on_pages=seen.append)
    assert list(found) == [f"{place}.tif" for place in range(600)]
    assert list(found.values()) == pytest.approx([place % 7 / 2 for place in range(600)])
    assert seen[-1] == 600
    assert seen == sorted(seen)


def test_a_run_without_shards(tmp_path: Path) -> None:
    assert holistic_shards(tmp_path, ["top"], "test") is None
    assert page_contrasts(tmp_path, ["top"], "test") == {}
