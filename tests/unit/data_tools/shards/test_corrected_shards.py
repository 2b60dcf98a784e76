"""Shard sets with corrections: what training and evaluation read is what a new conversion would give."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.errors import UserError
from data_tools.labels.corrections import EXCLUDE, Correction, Corrections
from data_tools.shards.batch import BatchPlan
from data_tools.shards.reader import EvalBatches, ShardSet, TrainBatches
from tests.helpers.synthetic_pages import made_data

CHANGES = {"images/train/0.tif": "7", "images/train/xxx3.tif": "20", "images/train/x6.tif": EXCLUDE,
           "images/train/xxxx39.tif": EXCLUDE, "images/train/x1.tif": "keep"}  # fmt: skip


def corrections(labels: Mapping[str, str], split: str = "train") -> Corrections:
    rows = [Correction(id=page, split=split, label=labels[page], new_label=new) for page, new in CHANGES.items()]
    return Corrections(Path("c.csv"), tuple(rows), tuple(range(2, 2 + len(rows))))


@pytest.fixture(scope="module", params=["raw", "png"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardSet, ShardSet]:
    """The training pages with corrections, and converted anew from corrected label files."""
    folder = tmp_path_factory.mktemp("sets")
    data = made_data(folder)
    lines = dict(line.rsplit(" ", 1) for line in (folder / "train.txt").read_text().splitlines())
    changed = {page: CHANGES.get(page, label) for page, label in lines.items()}
    changed = {page: lines[page] if label == "keep" else label for page, label in changed.items() if label != EXCLUDE}
    (folder / "corrected.txt").write_text("".join(f"{page} {label}\n" for page, label in changed.items()))
    for name, source in (("old", "train"), ("new", "corrected")):
        shards = ShardConfig(folder=str(folder / name), height=16, width=12, encoding=request.param)
        convert(replace(data, train=str(folder / f"{source}.txt")), shards, regions={}, seed=1, workers=1)
    place = "train/holistic"
    return (
        ShardSet.open(folder / "old" / place, corrections=corrections(lines)), ShardSet.open(folder / "new" / place),
    )  # fmt: skip


def test_the_examples_are_those_of_a_new_conversion(pair: tuple[ShardSet, ShardSet]) -> None:
    ours, fresh = pair
    assert len(ours) == len(fresh) == 38
    assert ours.ids.tolist() == fresh.ids.tolist()
    assert ours.page_ids([5, 0]) == fresh.page_ids([5, 0])
    assert ours.labels.tolist() == fresh.labels.tolist()
    assert np.array_equal(ours.gather(np.arange(38)), fresh.gather(np.arange(38)))
    assert ours.manifest.histogram == fresh.manifest.histogram
    assert ours.manifest.count == 38
    assert ours.correction_counts == {"relabel": 2, "exclude": 2, "keep": 1}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_world_sizes_read_the_same_batches(pair: tuple[ShardSet, ShardSet], size: int) -> None:
    for rank in range(size):
        seen = []
        for shards in pair:
            with TrainBatches(shards, BatchPlan(global_batch=6, seed=3, rank=rank, size=size)) as batches:
                train = [next(batches) for _ in range(14)]
                seen.append([(b.images.tobytes(), b.labels.tolist(), b.positions.tolist()) for b in train])
            with EvalBatches(shards, batch=5, rank=rank, size=size) as evaluation:
                seen[-1] += [(b.images.tobytes(), b.labels.tolist(), b.mask.tolist()) for b in evaluation]
        assert seen[0] == seen[1]


def test_rows_of_another_split_do_nothing(pair: tuple[ShardSet, ShardSet]) -> None:
    ours, _ = pair
    labels = dict.fromkeys(CHANGES, "3")
    plain = ShardSet.open(ours.folder, corrections=corrections(labels, split="val"))
    assert len(plain) == 40
    assert plain.manifest == ShardSet.open(ours.folder).manifest


def test_a_row_that_does_not_fit_the_pages(pair: tuple[ShardSet, ShardSet]) -> None:
    with pytest.raises(UserError, match=r"c\.csv:"):
        ShardSet.open(pair[0].folder, corrections=corrections(dict.fromkeys(CHANGES, "3")))
