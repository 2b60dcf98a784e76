"""From outputs to a ranking: scores, order, estimates. Pure; reads and writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from launch.labels.ranking import Neighbor, RankedPage, SplitSummary
from trainer.labels.confident import LabelNoise, label_noise, likely_classes, ranking_order, suspicion
from trainer.labels.recorded import PageOutputs

Neighbors = Mapping[tuple[str, str], tuple[Neighbor, ...]]
"""Nearest training pages of a page, by split and page id."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One split with its scores float64 [n], 0 to 1, and the estimate of its noise."""

    split: str
    outputs: PageOutputs
    scores: npt.NDArray[np.float64]
    noise: LabelNoise

    @property
    def judge(self) -> npt.NDArray[np.float32]:
        """The probabilities float32 [n, C] that the labels are judged by."""
        return self.outputs.probabilities[self.outputs.scored_by]


def judged(split: str, outputs: PageOutputs) -> Judged:
    """The scores and the noise of one split."""
    probabilities = outputs.probabilities[outputs.scored_by]
    noise = label_noise(probabilities, outputs.labels)
    return Judged(split, outputs, suspicion(probabilities, outputs.labels), noise)


def order_of(splits: Sequence[Judged]) -> list[tuple[int, int]]:
    """All pages, the most suspicious first: number of the split in `splits`, and position in it."""
    scores = np.concatenate([one.scores for one in splits])
    # Equal scores are ordered by split and page id.
    keys = np.concatenate([np.char.add(f"{number} ", one.outputs.ids) for number, one in enumerate(splits)])
    starts = np.cumsum([0, *(len(one.scores) for one in splits)])
    places = ranking_order(scores, keys)
    numbers = np.searchsorted(starts, places, side="right") - 1
    return list(zip(numbers.tolist(), (places - starts[numbers]).tolist(), strict=True))


def ranked_pages(
    splits: Sequence[Judged],
    order: Sequence[tuple[int, int]],
    *,
    class_ids: Sequence[int],
    originals: Mapping[tuple[str, str], int],
    neighbors: Neighbors,
) -> Iterator[RankedPage]:
    """The pages in `order`, made one at a time, since a large set has millions of probabilities.

    originals: class ids in the shards of pages that a correction has changed.
    """
    likely = [likely_classes(one.judge) for one in splits]
    for rank, (number, place) in enumerate(order, start=1):
        one = splits[number]
        page_id, label = str(one.outputs.ids[place]), class_ids[int(one.outputs.labels[place])]
        yield RankedPage(
            id=page_id,
            split=one.split,
            label=label,
            original=originals.get((one.split, page_id), label),
            likely=class_ids[int(likely[number][place])],
            score=float(one.scores[place]),
            rank=rank,
            suspect=bool(one.noise.suspects[place]),
            scored_by=one.outputs.scored_by,
            probabilities=row_of(one.outputs.probabilities, place),
            nearest=neighbors.get((one.split, page_id), ()),
        )


def row_of(probabilities: Mapping[str, npt.NDArray[Any]], place: int) -> dict[str, tuple[float, ...]]:
    """One page's probabilities by model."""
    return {name: tuple(rows[place].tolist()) for name, rows in probabilities.items()}


def split_summaries(splits: Sequence[Judged]) -> dict[str, SplitSummary]:
    """The summary of each split."""
    return {
        one.split: {
            "pages": len(one.scores),
            "outputs": one.outputs.source,
            "suspects": int(one.noise.suspects.sum()),
            "wrong": one.noise.share,
            "wrong_interval": list(one.noise.interval),
        }
        for one in splits
    }


def joint_counts(splits: Sequence[Judged]) -> list[list[float]]:
    """Estimated pages of all splits by given and likely class."""
    return np.asarray(np.sum([one.noise.joint for one in splits], axis=0)).tolist()
