"""Judge every label of a run: outputs of models that did not learn from it, scores, nearest pages, the ranking."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.labels.corrections import Corrections, original_labels
from data_tools.shards.shard_set import ShardSet
from launch.api import Run
from launch.labels.rank import Judged, Neighbors, joint_counts, judged, order_of, ranked_pages, split_summaries
from launch.labels.ranking import FORMAT, Neighbor, RankingSummary, begin_decisions, ranking_folder, write_ranking
from launch.recipe.prepare import weights_path
from launch.run.model import find_shards
from launch.terminal.page_progress import page_progress
from trainer.device import prepare_inference
from trainer.job_folder.corrections import FILE, corrections_record, kept_corrections
from trainer.labels.features import Features, PageFeatures, Projection
from trainer.labels.judge import FOLDS, cross_fitted, nearest
from trainer.labels.recorded import PageOutputs, fold_outputs, has_folds, recorded_outputs
from trainer.network.classifier import Geometry
from trainer.serving.ensemble import open_stack
from trainer.training.split import fold_of

FEATURES = "features"
"""Name of the regression on features among the models of a ranking."""
LARGEST_PX = 256
"""Height at which features are computed, at most."""
NEIGHBORS = 5
WITH_NEIGHBORS = 1000
"""Pages at the top of a ranking that get their nearest training pages."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The features of the training pages, and what computes those of other pages."""

    network: PageFeatures
    project: Projection
    train: Features


@dataclass(frozen=True, eq=False)
class RunShards:
    """The whole-page shard sets of a run, with its corrections."""

    run: Run
    folder: Path | None
    corrections: Corrections | None

    def of(self, split: str) -> ShardSet:
        """The set of one split.

        Raises:
            UserError: it is not found, or differs from the run's.
        """
        folder = self.folder or find_shards(self.run.folder, self.run.record, split)
        return ShardSet.open(folder / split / HOLISTIC, corrections=self.corrections)


def run_shards(run: Run, folder: Path | None) -> RunShards:
    """Where the pages of `run` are. folder: other place of its shards; None: where the run says."""
    corrections = None if run.config.data.corrections is None else kept_corrections(run.folder)
    return RunShards(run, folder, corrections)


def feature_space(shards: RunShards) -> FeatureSpace:
    """Compute the features of all training pages, with progress.

    Raises:
        UserError: the shards or the start weights of the run are missing.
    """
    config = shards.run.config
    weights = weights_path(config, run=shards.run.folder)
    if weights is not None and not weights.is_file():
        raise UserError(f"{weights}: the start weights of this run are missing, and its labels are judged with them")
    prepare_inference()
    train = shards.of("train")
    height, width, channels = train.image_shape
    network = PageFeatures(config.model, Geometry(height, width, channels, min(height, LARGEST_PX)), weights)
    project = network.fitted_projection(train)
    with page_progress("features") as progress:
        rows = network.of_shards(train, project, on_pages=lambda done: progress(done, len(train), 0))
    return FeatureSpace(network, project, rows)


def judge_run(run: Run, *, shards: RunShards, folds: tuple[Path, str] | None) -> tuple[RankingSummary, Path]:
    """Write the ranking of all labels of a finished run; its summary and folder.

    folds: run folder and member of a training of folds for this purpose (`launch.labels.folds`); None: without one.

    Raises:
        UserError: the run is not finished, its files are damaged, or its shards are not found.
    """
    space, train = feature_space(shards), shards.of("train")
    splits = [judged(split, outputs) for split, outputs in _outputs(run, train, space, folds).items()]
    order = order_of(splits)
    neighbors = _neighbors(splits, order[:WITH_NEIGHBORS], shards=shards, space=space)
    class_ids = run.class_ids
    pages = ranked_pages(
        splits, order, class_ids=class_ids, originals=_originals(shards, class_ids), neighbors=neighbors
    )
    record = corrections_record(run.folder)
    summary: RankingSummary = {
        "format": FORMAT,
        "created": time.time(),
        "kind": "splits",
        "run": str(run.folder),
        "classes": [{"id": entry.id, "name": entry.name} for entry in run.record.classes],
        "pages": len(order),
        "splits": split_summaries(splits),
        "joint": joint_counts(splits),
        "shards": str(train.folder.parent.parent.absolute()),
        "corrections": None if record is None else record["sha256"],
    }
    folder = ranking_folder(run.folder)
    begin_decisions(folder, run.folder / FILE)
    write_ranking(folder, summary, pages)
    return summary, folder


def _outputs(run: Run, train: ShardSet, space: FeatureSpace, folds: tuple[Path, str] | None) -> dict[str, PageOutputs]:
    """Out-of-sample outputs by split."""
    stack = open_stack(run.folder)
    recorded = [split for split in SPLITS if split != "train" or has_folds(run.folder, stack.members)]
    found = {
        split: recorded_outputs(
            run.folder, split, stack=stack, config=run.config.stack, policy=run.policy, seed=run.config.seed
        )
        for split in recorded
    }
    if "train" not in found:
        found["train"] = fold_outputs(*folds) if folds else _from_features(train, space, seed=run.config.seed)
    return {split: found[split] for split in SPLITS}


def _from_features(train: ShardSet, space: FeatureSpace, *, seed: int) -> PageOutputs:
    ids, labels = train.ids, train.labels
    folds = fold_of(ids.tolist(), labels, folds=FOLDS, seed=seed)
    with page_progress("judging labels") as progress:
        softmax = cross_fitted(
            space.train, labels, folds, classes=len(train.manifest.class_ids),
            on_fold=lambda done: progress(done * len(labels) // FOLDS, len(labels), 0),
        )  # fmt: skip
    order = np.argsort(ids, kind="stable")
    return PageOutputs(ids[order], labels[order], {FEATURES: softmax[order]}, FEATURES, FEATURES)


def _originals(shards: RunShards, class_ids: Sequence[int]) -> dict[tuple[str, str], int]:
    """Class ids in the shards of the pages that corrections have changed, by split and page id."""
    if shards.corrections is None:
        return {}
    names = [entry.name for entry in shards.run.record.classes]
    return original_labels(shards.corrections, class_ids=class_ids, class_names=names)


def _neighbors(
    splits: Sequence[Judged], order: Sequence[tuple[int, int]], *, shards: RunShards, space: FeatureSpace
) -> Neighbors:
    """The nearest training pages of the pages in `order`."""
    train = shards.of("train")
    train_ids = train.page_ids(range(len(train)))
    own = {page_id: place for place, page_id in enumerate(train_ids)}
    found: dict[tuple[str, str], tuple[Neighbor, ...]] = {}
    for number, one in enumerate(splits):
        ids = [str(one.outputs.ids[place]) for split, place in order if split == number]
        if not ids:
            continue
        queries = (
            space.train[[own[i] for i in ids]] if one.split == "train" else _features(shards, one.split, ids, space)
        )
        excluded = np.array([own.get(page_id, -1) for page_id in ids], np.int64)
        places, similar = nearest(queries, space.train, count=NEIGHBORS, excluded=excluded)
        for page_id, row, values in zip(ids, places.tolist(), similar.tolist(), strict=True):
            found[one.split, page_id] = tuple(
                Neighbor(id=train_ids[at], label=train.manifest.class_ids[int(train.labels[at])], similarity=value)
                for at, value in zip(row, values, strict=True)
            )
    return found


def _features(shards: RunShards, split: str, ids: Sequence[str], space: FeatureSpace) -> Features:
    """Features of the named pages of a split, float32 [n, d]."""
    opened = shards.of(split)
    places = {page_id: place for place, page_id in enumerate(opened.page_ids(range(len(opened))))}
    rows = np.array([places[page_id] for page_id in ids], np.int64)
    parts = [rows[first : first + 64] for first in range(0, len(rows), 64)]
    return np.concatenate([space.project.of(space.network.raw(opened.gather(part))) for part in parts])
