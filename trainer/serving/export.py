"""Export of a run: one SavedModel of all members and the stack that loads without this repository.

TensorFlow alone is enough to use it:

    model = tf.saved_model.load("export/saved_model")
    model.page(page)                     # uint8 [h, w, channels], one page as scanned
    model.regions({"holistic": …, …})    # uint8 [n, height, width, channels] each, as stored in the shards

Both return a dictionary of float32 [n, classes]: one entry a member, and `stack`. `model.class_ids` and
`model.class_names` name the columns.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.errors import UserError
from data_tools.files import atomic_folder, write_json
from data_tools.shards.manifest import Manifest, read_manifest
from data_tools.shards.reader import ShardSet
from trainer.config import STACK
from trainer.job_folder.journal import PREDICTIONS, job_folder
from trainer.scoring.predictions import Predictions, read_predictions
from trainer.serving.ensemble import BATCH, Ensemble, RegionPages, member_config, open_ensemble, open_stack
from trainer.serving.saved_model import save_exported

SAVED_MODEL = "saved_model"
DESCRIPTION = "export.json"

TOLERANCE = 1e-4
"""Largest difference of a probability from the recorded one: another batch size or device changes the last bits."""

MIXED_TOLERANCE = 0.05
"""The same for a run that computed in 16 bits: the export always computes in float32."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A run to export: its models, and the test shards of every region that a member takes.

    tolerance: largest difference of a probability from the recorded one.
    """

    run: Path
    ensemble: Ensemble
    shards: dict[str, Path]
    manifests: dict[str, Manifest]
    tolerance: float


def export(run: Path, folder: Path | None = None, *, shards: Path | None = None) -> Path:
    """Write the models of a finished run as one folder, checked against the run's recorded test predictions.

    folder: the target (None: `<run>/export`). shards: the run's shard sets, if they were moved.

    Raises:
        UserError: the run is not finished, its shards are missing, the folder exists, or the exported model
            does not reproduce the recorded predictions.
    """
    target = folder or run / "export"
    if target.exists():
        raise UserError(f"{target}: exists already; remove it or give another folder")
    source = open_source(run, shards)
    names = next(iter(source.manifests.values())).class_names
    with atomic_folder(target) as temporary:
        save_exported(source.ensemble, temporary / SAVED_MODEL, class_names=names)
        checked = check_exported(source, temporary / SAVED_MODEL)
        write_json(temporary / DESCRIPTION, describe(source) | {"checked": checked})
    logger.info("exported %s to %s", run, target)
    return target


def open_source(run: Path, shards: Path | None = None) -> Source:
    """Open the models and the test shards of a finished run.

    Raises:
        UserError: the run is not finished, or its shards are missing.
    """
    configs = [member_config(run, name) for name in open_stack(run).members]
    folders = {config.region: Path(shards or config.shards) / "test" / config.region for config in configs}
    manifests = {region: read_manifest(path) for region, path in folders.items()}
    pages = {region: RegionPages((m.height, m.width, m.channels), m.box) for region, m in manifests.items()}
    mixed = any(config.training.precision != "float32" for config in configs)
    tolerance = MIXED_TOLERANCE if mixed else TOLERANCE
    return Source(run, open_ensemble(run, pages), folders, manifests, tolerance)


def describe(source: Source) -> dict[str, Any]:
    """Description of the SavedModel for its users, as plain data."""
    first = next(iter(source.manifests.values()))
    return {
        "load": f'tf.saved_model.load("{SAVED_MODEL}")',
        "run": str(source.run),
        "members": [{"name": member.name, "region": member.region} for member in source.ensemble.members],
        "regions": {region: list(manifest.box) for region, manifest in source.manifests.items()},
        "page": {"height": first.height, "width": first.width, "channels": first.channels, "dtype": "uint8"},
        "classes": [
            {"id": class_id, "name": name} for class_id, name in zip(first.class_ids, first.class_names, strict=True)
        ],
        "stack": source.ensemble.stack.method,
    }


def check_exported(source: Source, saved_model: Path) -> dict[str, Any]:
    """Load the SavedModel and compare its outputs for all test pages with the recorded predictions, by page id.

    Raises:
        UserError: an output differs by more than the tolerance; the text names the page and the model.
    """
    import tensorflow as tf

    model = tf.saved_model.load(str(saved_model))
    sets = {region: ShardSet.open(path) for region, path in source.shards.items()}
    positions = {region: {page_id: row for row, page_id in enumerate(s.ids)} for region, s in sets.items()}
    names = [*(member.name for member in source.ensemble.members), STACK]
    recorded = {name: read_predictions(job_folder(source.run, name) / PREDICTIONS / "test.npz") for name in names}
    ids = recorded[STACK].ids.tolist()
    worst = dict.fromkeys(recorded, 0.0)
    for first in range(0, len(ids), BATCH):
        rows = slice(first, first + BATCH)
        chosen = {region: _rows(positions[region], ids[rows], region) for region in sets}
        pages = {region: tf.constant(sets[region].gather(chosen[region])) for region in sets}
        for name, output in model.regions(pages).items():
            expected = recorded[name].rows(np.arange(len(ids))[rows])
            worst[name] = max(worst[name], _compare(name, output.numpy(), expected, source))
    return {"pages": len(ids), "tolerance": source.tolerance, "largest_difference": worst}


def _rows(positions: dict[str, int], ids: list[str], region: str) -> np.ndarray:
    for page_id in ids:
        if page_id not in positions:
            raise UserError(f"page {page_id} was predicted in the run but is not in the shards of {region}")
    return np.array([positions[page_id] for page_id in ids], np.int64)


def _compare(name: str, output: np.ndarray, recorded: Predictions, source: Source) -> float:
    """The largest difference of a probability; output: float32 [n, classes]."""
    differences = np.abs(output - recorded.softmax).max(axis=1)
    worst = int(differences.argmax())
    if not differences[worst] <= source.tolerance:
        raise UserError(
            f"{source.run}: the exported {name} gives page {recorded.ids[worst]} probabilities that differ by "
            f"{differences[worst]:.2g} from the recorded ones; check whether the shards or the checkpoint changed"
        )
    return float(differences[worst])
