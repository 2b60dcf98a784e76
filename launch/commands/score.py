"""Score a run's trained models on a split."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.manifest import read_manifest
from launch.api import BATCH, open_run
from launch.run.model import find_shards, other_pages
from launch.terminal.console import tables
from trainer.config import STACK
from trainer.job_folder.journal import RESULT, job_folder
from trainer.soft_targets.config import DISTILLED

if TYPE_CHECKING:
    from data_tools.shards.reader import ShardSet
    from trainer.serving.ensemble import Ensemble

Outputs = dict[str, np.ndarray]
"""Softmax float32 [n, classes] by model."""


def evaluate(run: Path, *, split: str, shards: str | None, model: str = STACK) -> int:
    """Score every model of a finished run on a split, each page once; returns 0.

    model: `stack`, with all of its members and the student if there is one; or `distilled`, the student alone.
    shards: folder of other shard sets (None: the run's own, with its corrections); their pages may be stored at another
    size.

    Raises:
        UserError: the run is not finished, its shards are not found, or the shards do not fit its models.
    """
    from data_tools.shards.reader import ShardSet
    from launch.report.confidence.tables import NOT_CALIBRATED, decision_table, score_table
    from launch.report.documents import document_table
    from trainer.job_folder.corrections import kept_corrections
    from trainer.scoring.contrast import in_order
    from trainer.scoring.decision import judge, read_policy
    from trainer.stack.contrast import contrasts_of

    opened = open_run(run, model=model)
    record, regions = opened.record, opened.regions
    folder = (Path(shards) if shards else find_shards(run, record, split)) / split
    for region in regions:
        if problem := other_pages(read_manifest(folder / region), region, record):
            raise UserError(f"{folder / region}: these shards have {problem}")
    corrections = kept_corrections(run) if shards is None and opened.config.data.corrections is not None else None
    sets = {region: ShardSet.open(folder / region, corrections=corrections) for region in regions}
    first = next(iter(sets.values()))
    labels = np.asarray(first.labels)
    contrast = in_order(contrasts_of(sets[HOLISTIC]), first.ids.tolist()) if HOLISTIC in sets else None
    outputs = _shard_outputs(ensemble_for_shards(run, sets, model=model), sets)
    judged = judge(read_policy(run, model), outputs, contrast=contrast)
    if model == STACK and HOLISTIC in sets:
        judged = replace(judged, probabilities={**_of_student(run, sets), **judged.probabilities})
    tables().print(score_table(f"{run}: {split}, {len(first)} pages", labels, judged))
    documents = document_table(first.ids.tolist(), labels, judged.probabilities)
    if documents is not None:
        tables().print(documents)
    tables().print(decision_table(labels, judged) if judged.calibrated else NOT_CALIBRATED)
    return 0


def _of_student(run: Path, sets: Mapping[str, "ShardSet"]) -> Outputs:
    """The calibrated probabilities of the run's student by its name; empty without one."""
    from trainer.scoring.decision import judge, read_policy

    if not (job_folder(run, DISTILLED) / RESULT).exists():
        return {}
    outputs = _shard_outputs(ensemble_for_shards(run, sets, model=DISTILLED), {HOLISTIC: sets[HOLISTIC]})
    return judge(read_policy(run, DISTILLED), outputs).probabilities


def ensemble_for_shards(run: Path, sets: Mapping[str, "ShardSet"], *, model: str = STACK) -> "Ensemble":
    """The run's models for pages as the shard sets (by region) store them; model: what answers.

    Raises:
        UserError: the run is not finished, or a model cannot work on pages of this size.
    """
    from trainer.serving.ensemble import RegionPages, open_ensemble

    manifests = {region: shards.manifest for region, shards in sets.items()}
    pages = {region: RegionPages((m.height, m.width, m.channels), m.box) for region, m in manifests.items()}
    return open_ensemble(run, pages, model=model)


def _shard_outputs(ensemble: "Ensemble", sets: Mapping[str, "ShardSet"]) -> Outputs:
    """Outputs for all pages of the shard sets, in the order of the first; regions are joined by page id."""
    ids = list(next(iter(sets.values())).ids)
    positions = {region: {page_id: row for row, page_id in enumerate(shards.ids)} for region, shards in sets.items()}
    for region, known in positions.items():
        if set(known) != set(ids):
            raise UserError(f"{region}: its shards have other pages than the other regions'; convert them together")
    batches = []
    for start in range(0, len(ids), BATCH):
        chosen = ids[start : start + BATCH]
        pages = {
            region: shards.gather(np.array([positions[region][page_id] for page_id in chosen]))
            for region, shards in sets.items()
        }
        batches.append(ensemble.predict(pages))
    return _joined(batches)


def _joined(batches: Sequence[Outputs]) -> Outputs:
    """The rows of all batches, by model."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]} if batches else {}
