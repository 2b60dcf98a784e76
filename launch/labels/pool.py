"""Choose which unlabelled pages to label next: classify a folder, and rank what the run's models need most."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.cores import available_cores
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.labels.page_id import join_page_id
from launch.api import Run
from launch.labels.judge_run import FeatureSpace, RunShards, feature_space
from launch.labels.rank import row_of
from launch.labels.ranking import FORMAT, POOL, Neighbor, RankedPage, RankingSummary, ranking_folder, write_ranking
from launch.predict.engine import classify_in_turn, cut_of
from launch.predict.sources import GROUP, Source, find_sources
from launch.terminal.page_progress import page_progress
from trainer.config import STACK
from trainer.labels.choose import choose, uncertainty
from trainer.labels.features import Features
from trainer.labels.judge import nearest
from trainer.scoring.decision import calibrate, is_blank
from trainer.serving.classify import Classifier, FileOutputs, Models
from trainer.serving.decode import Decoders

FEATURES = "features"
NEIGHBORS = 5


@dataclass
class Pool:
    """The pages of a folder that can be chosen, and what was passed over.

    ids: relative to the folder. outputs: rows float32 [C] by model, features among them. rejected: pages and files
    that cannot be read; blank: pages that show nothing; labelled: files that the run has labels of.
    """

    ids: list[str] = field(default_factory=list)
    outputs: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    rejected: int = 0
    blank: int = 0
    labelled: int = 0

    def column(self, name: str) -> NDArray[np.float32]:
        """The rows of one model, float32 [n, k]."""
        return np.stack(self.outputs[name])


@dataclass(frozen=True)
class _WithFeatures:
    """The models of a run, and the features of the pages as if they were one more model's outputs."""

    models: Models
    space: FeatureSpace

    def predict(self, pages: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """See `Models`."""
        raw = self.space.network.raw(np.ascontiguousarray(pages[HOLISTIC]))
        return {**self.models.predict(pages), FEATURES: self.space.project.of(raw)}


def rank_pool(run: Run, folder: Path, *, most: int, shards: RunShards) -> tuple[RankingSummary, Path, Pool]:
    """Write the ranking of up to `most` unlabelled pages of `folder`; its summary, its folder, and the pool.

    Raises:
        UserError: the folder has no page that can be chosen, the run is not finished, or its shards are not found.
    """
    if not folder.is_dir():
        raise UserError(f"--pool {folder}: not a folder")
    pool = Pool()
    files = _unlabelled(find_sources([str(folder)]).files, run, shards, pool)
    if not files:
        raise _nothing(folder, pool)
    space = feature_space(shards)
    _classify(run, files, folder, space, pool)
    if not pool.ids:
        raise _nothing(folder, pool)
    pages = _chosen(run, pool, space, shards, most=most)
    summary: RankingSummary = {
        "format": FORMAT,
        "created": time.time(),
        "kind": POOL,
        "run": str(run.folder),
        "classes": [{"id": entry.id, "name": entry.name} for entry in run.record.classes],
        "pages": len(pages),
        "root": str(folder.absolute()),
        "shards": str(shards.of("train").folder.parent.parent.absolute()),
    }
    place = ranking_folder(run.folder, pool=True)
    write_ranking(place, summary, pages)
    return summary, place, pool


def _nothing(folder: Path, pool: Pool) -> UserError:
    return UserError(
        f"--pool {folder}: no page to choose from: {pool.labelled} files are labelled in this run, {pool.rejected} "
        f"pages cannot be read, {pool.blank} are blank"
    )


def _unlabelled(files: Sequence[Source], run: Run, shards: RunShards, pool: Pool) -> list[str]:
    """Files of the pool without those whose pages are in the run's shards; counts what is left out."""
    root, left = os.path.realpath(run.config.paths.data_root), []
    known: set[str] = set()
    for split in ("train", "val", "test"):
        opened = shards.of(split)
        known.update(page_id.partition("#page=")[0] for page_id in opened.page_ids(range(len(opened))))
    for source in files:
        if source.error is not None:
            pool.rejected += 1
        elif os.path.relpath(os.path.realpath(source.path), root) in known:
            pool.labelled += 1
        else:
            left.append(source.path)
    return left


def _classify(run: Run, files: Sequence[str], folder: Path, space: FeatureSpace, pool: Pool) -> None:
    groups = [files[first : first + GROUP] for first in range(0, len(files), GROUP)]
    done = 0
    with (
        Decoders(cut_of(run), workers=available_cores(), page_timeout_s=run.config.shards.page_timeout_s) as decoders,
        page_progress("classifying") as progress,
    ):
        classifier = Classifier(_WithFeatures(run.ensemble, space), decoders)
        payloads = (tuple(str(Path(file).absolute()) for file in group) for group in groups)
        for group, outputs in zip(groups, classify_in_turn(classifier, payloads), strict=True):
            for file, found in zip(group, outputs, strict=True):
                _add(pool, os.path.relpath(file, folder), found, run)
            done += len(group)
            progress(done, len(files), pool.rejected)


def _add(pool: Pool, page_id: str, found: FileOutputs, run: Run) -> None:
    """Add the readable pages of one file that show something."""
    pool.rejected += 1 if found.error is not None else sum(error is not None for _, error in found.pages)
    numbers = [number for number, error in found.pages if error is None]
    if not numbers:
        return
    features = found.outputs[FEATURES]
    softmax = {name: rows for name, rows in found.outputs.items() if name != FEATURES}
    probabilities = softmax if run.policy is None else calibrate(run.policy, softmax)
    blank = [False] * len(numbers)
    if run.policy is not None and found.contrast:
        blank = is_blank(run.policy, found.contrast, pages=len(numbers)).tolist()
    for row, number in enumerate(numbers):
        if blank[row]:
            pool.blank += 1
            continue
        pool.ids.append(join_page_id(page_id, number, several=found.of > 1))
        for name, rows in {**probabilities, FEATURES: features}.items():
            pool.outputs.setdefault(name, []).append(rows[row])


def _chosen(run: Run, pool: Pool, space: FeatureSpace, shards: RunShards, *, most: int) -> list[RankedPage]:
    """The ranked pages, the most useful first."""
    features = pool.column(FEATURES)
    probabilities = {name: pool.column(name) for name in pool.outputs if name != FEATURES}
    chosen, scores = choose(uncertainty(probabilities[STACK]), features, space.train, most=most)
    near = list(_nearest(features[chosen], space, shards))
    class_ids = run.class_ids
    return [
        RankedPage(
            id=pool.ids[place],
            split=POOL,
            label=None,
            original=None,
            likely=class_ids[int(probabilities[STACK][place].argmax())],
            score=float(score),
            rank=rank,
            suspect=False,
            scored_by=STACK,
            probabilities=row_of(probabilities, place),
            nearest=near[rank - 1],
        )
        for rank, (place, score) in enumerate(zip(chosen.tolist(), scores.tolist(), strict=True), start=1)
    ]


def _nearest(queries: Features, space: FeatureSpace, shards: RunShards) -> Iterator[tuple[Neighbor, ...]]:
    train = shards.of("train")
    ids, class_ids = train.page_ids(range(len(train))), train.manifest.class_ids
    excluded = np.full(len(queries), -1, np.int64)
    places, similar = nearest(queries, space.train, count=NEIGHBORS, excluded=excluded)
    for row, values in zip(places.tolist(), similar.tolist(), strict=True):
        yield tuple(
            Neighbor(id=ids[at], label=class_ids[int(train.labels[at])], similarity=value)
            for at, value in zip(row, values, strict=True)
        )
