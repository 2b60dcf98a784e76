"""One model out of a run: a SavedModel of all members and the stack that loads without this repository.

Needs nothing but TensorFlow to use:

    model = tf.saved_model.load("export/saved_model")
    model.page(page)                     # uint8 [h, w, channels], one page as scanned
    model.regions({"holistic": …, …})    # uint8 [n, height, width, channels] each, as stored in the shards

Both give a dictionary of float32 [n, classes]: one entry a member, and `stack`. `model.class_ids` and
`model.class_names` say what the columns stand for.
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
from trainer.network.classifier import Geometry
from trainer.scoring.predictions import Predictions, read_predictions
from trainer.serving.ensemble import load_member, member_config
from trainer.serving.saved_model import ExportedEnsemble, Part, save_exported
from trainer.stack.fit import FittedStack, load_stack

SAVED_MODEL = "saved_model"
DESCRIPTION = "export.json"

TOLERANCE = 1e-4
"""Largest difference of a probability from the recorded one: other batches or devices move last bits."""

MIXED_TOLERANCE = 0.05
"""The same where the run computed in 16 bits: the export always computes in float32."""

BATCH = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is exported: the stack, and for each of its members the region and that region's test shards."""

    run: Path
    stack: FittedStack
    regions: dict[str, str]
    shards: dict[str, Path]
    manifests: dict[str, Manifest]
    tolerance: float


def export(run: Path, folder: Path | None = None, *, shards: Path | None = None) -> Path:
    """Write the models of a finished run as one folder, checked against the run's recorded test predictions.

    folder: where to (None: `<run>/export`). shards: the run's shard sets, where they were moved.

    Raises:
        UserError: the run is not finished, its shards are not there, the folder exists, or the exported model
            does not give the recorded predictions.
    """
    target = folder or run / "export"
    if target.exists():
        raise UserError(f"{target}: exists already; remove it or give another folder")
    source = open_source(run, shards)
    with atomic_folder(target) as temporary:
        save_exported(_ensemble(source), temporary / SAVED_MODEL)
        checked = check_exported(source, temporary / SAVED_MODEL)
        write_json(temporary / DESCRIPTION, describe(source) | {"checked": checked})
    logger.info("exported %s to %s", run, target)
    return target


def open_source(run: Path, shards: Path | None = None) -> Source:
    """The parts of a finished run.

    Raises:
        UserError: something of it is missing.
    """
    if not (job_folder(run, STACK) / "result.json").exists():
        raise UserError(f"{run}: the stack is not finished; run train-all to the end first")
    stack = load_stack(job_folder(run, STACK))
    configs = {name: member_config(run, name) for name in stack.members}
    folders = {config.region: Path(shards or config.shards) / "test" / config.region for config in configs.values()}
    mixed = any(config.training.precision != "float32" for config in configs.values())
    return Source(
        run=run,
        stack=stack,
        regions={name: config.region for name, config in configs.items()},
        shards=folders,
        manifests={region: read_manifest(path) for region, path in folders.items()},
        tolerance=MIXED_TOLERANCE if mixed else TOLERANCE,
    )


def _ensemble(source: Source) -> ExportedEnsemble:
    """The run's models as one TensorFlow module."""
    parts = []
    for name, region in source.regions.items():
        manifest = source.manifests[region]
        image_px = member_config(source.run, name).stage.image_px
        geometry = Geometry(manifest.height, manifest.width, manifest.channels, image_px)
        model = load_member(source.run, name, geometry=geometry, classes=len(source.stack.class_ids))
        shape = (manifest.height, manifest.width, manifest.channels)
        parts.append(Part(name, region, manifest.box, shape, model))
    names = next(iter(source.manifests.values())).class_names
    return ExportedEnsemble(parts, source.stack, names)


def describe(source: Source) -> dict[str, Any]:
    """What a user of the artefact must know, as plain data."""
    first = next(iter(source.manifests.values()))
    return {
        "load": f'tf.saved_model.load("{SAVED_MODEL}")',
        "run": str(source.run),
        "members": [{"name": name, "region": region} for name, region in source.regions.items()],
        "regions": {region: list(manifest.box) for region, manifest in source.manifests.items()},
        "page": {"height": first.height, "width": first.width, "channels": first.channels, "dtype": "uint8"},
        "classes": [
            {"id": class_id, "name": name} for class_id, name in zip(first.class_ids, first.class_names, strict=True)
        ],
        "stack": source.stack.method,
    }


def check_exported(source: Source, saved_model: Path) -> dict[str, Any]:
    """Load the artefact as a stranger would and compare all test pages with the recorded predictions, by id.

    Raises:
        UserError: an output differs by more than the tolerance; the text names the page and the model.
    """
    import tensorflow as tf

    model = tf.saved_model.load(str(saved_model))
    sets = {region: ShardSet.open(path) for region, path in source.shards.items()}
    places = {region: {page_id: place for place, page_id in enumerate(s.ids)} for region, s in sets.items()}
    recorded = {
        name: read_predictions(job_folder(source.run, name) / PREDICTIONS / "test.npz")
        for name in (*source.regions, STACK)
    }
    ids = recorded[STACK].ids.tolist()
    worst = dict.fromkeys(recorded, 0.0)
    for first in range(0, len(ids), BATCH):
        rows = slice(first, first + BATCH)
        chosen = {region: _rows(places[region], ids[rows], region) for region in sets}
        pages = {region: tf.constant(sets[region].gather(chosen[region])) for region in sets}
        for name, output in model.regions(pages).items():
            expected = recorded[name].rows(np.arange(len(ids))[rows])
            worst[name] = max(worst[name], _compare(name, output.numpy(), expected, source))
    return {"pages": len(ids), "tolerance": source.tolerance, "largest_difference": worst}


def _rows(places: dict[str, int], ids: list[str], region: str) -> np.ndarray:
    for page_id in ids:
        if page_id not in places:
            raise UserError(f"page {page_id} was predicted in the run but is not in the shards of {region}")
    return np.array([places[page_id] for page_id in ids], np.int64)


def _compare(name: str, output: np.ndarray, recorded: Predictions, source: Source) -> float:
    """The largest difference of a probability."""
    differences = np.abs(output - recorded.softmax).max(axis=1)
    at = int(differences.argmax())
    if not differences[at] <= source.tolerance:
        raise UserError(
            f"{source.run}: the exported {name} gives page {recorded.ids[at]} probabilities that differ by "
            f"{differences[at]:.2g} from the recorded ones; were the shards or the checkpoint changed since?"
        )
    return float(differences[at])
