"""What must be there before any job starts: shards that fit the configuration, and start weights."""

from contextlib import nullcontext
from dataclasses import astuple
from pathlib import Path

from data_tools.conversion.convert import convert
from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.manifest import MANIFEST, Manifest, read_manifest
from data_tools.shards.verify import check
from launch.config import Config
from launch.console import print_out
from launch.page_progress import page_progress
from launch.recipe.convert_on_cluster import over_all_hosts
from trainer.network.backbones import check_size
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.freezing import layer_names, plan_freezing
from trainer.network.weights import import_weights, imported_from

WEIGHTS_FILE = "weights/start.weights.h5"
"""Start weights, copied into the run folder, so that a run can go on without the place that they came from."""
LABEL_WARNINGS_SHOWN = 5
NO_WEIGHTS = "none"
IMAGENET = "imagenet"


def ensure_shards(config: Config) -> None:
    """Convert what is missing, then check that the shards are those that the configuration speaks of.

    Where the pages themselves are not on this machine, shards that are complete are enough.

    Raises:
        UserError: pages or labels that cannot be used, or shards of another geometry.
    """
    folders = [set_folder(config, split, region) for split in SPLITS for region in config.boxes]
    complete = all((folder / MANIFEST).exists() for folder in folders)
    if not complete or Path(config.data.root).exists():
        hosts = nullcontext() if complete else over_all_hosts(config)
        with hosts as share_runner, page_progress("converting") as progress:
            summary = convert(
                config.data,
                config.shards,
                regions=config.boxes,
                seed=config.seed,
                progress=progress,
                share_runner=share_runner,
            )
        if summary.written:
            print_out(
                f"{summary.folder}: {summary.pages} pages to {len(summary.written)} shard sets "
                f"in {summary.seconds:.0f} s, "
                f"{summary.rejected} pages set aside"
            )
        for warning in summary.label_warnings[:LABEL_WARNINGS_SHOWN]:
            print_out(f"note: {warning.split}: {warning.page_id or ''} {warning.detail}".replace("  ", " "))
        more = len(summary.label_warnings) - LABEL_WARNINGS_SHOWN
        if more > 0:
            print_out(f"note: and {more} more label warnings, see label_warnings.jsonl in {summary.folder}")
    check_shards(config)


def set_folder(config: Config, split: str, region: str) -> Path:
    """Folder of one shard set."""
    return Path(config.shards.folder) / split / region


def verify_shards(config: Config, *, deep: bool) -> int:
    """Check every shard set against its manifest and tell each problem; returns 0, or 1 where there is one."""
    problems = 0
    for split in SPLITS:
        for region in config.boxes:
            folder = set_folder(config, split, region)
            found = check(folder, deep=deep)
            problems += len(found)
            for problem in found:
                print_out(problem)
    print_out(f"{config.shards.folder}: {problems or 'no'} problem{'' if problems == 1 else 's'}")
    return 1 if problems else 0


def check_shards(config: Config) -> None:
    """Compare every shard set's manifest with the configuration.

    Raises:
        UserError: a set is missing, or differs in size, box or channels; the text says how to mend it.
    """
    for split in SPLITS:
        for region in config.boxes:
            folder = set_folder(config, split, region)
            check_manifest(read_manifest(folder), config, folder)
    first = read_manifest(set_folder(config, "train", HOLISTIC))
    for name, stage in config.stages.items():
        try:
            factor = Geometry(first.height, first.width, first.channels, stage.image_px).reduction
            check_size(config.model.backbone, first.height // factor, first.width // factor)
        except UserError as error:
            raise UserError(f"stages.{name}.{error}") from None


def check_freezing(config: Config) -> None:
    """Refuse what a stage's `freeze` cannot mean, before the stages before it have trained for days.

    Builds the network, where any stage freezes something; for the driver, which leaves the GPUs to its workers.

    Raises:
        UserError: an entry that matches no layer, or nothing left to train.
    """
    if not any(stage.freeze for stage in config.stages.values()):
        return
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    first = read_manifest(set_folder(config, "train", HOLISTIC))
    geometry = Geometry(first.height, first.width, first.channels, first.height)
    layers = layer_names(build_classifier(config.model, geometry, classes=len(first.class_ids)))
    for name, stage in config.stages.items():
        try:
            plan_freezing(stage, layers)
        except UserError as error:
            raise UserError(f"stages.{name}.{error}") from None


def check_manifest(manifest: Manifest, config: Config, folder: Path) -> None:
    """Compare one manifest with the configuration.

    Raises:
        UserError: they differ; the text names the field, both values, and what to do.
    """
    shards = config.shards
    expected = {
        "height": shards.height,
        "width": shards.width,
        "channels": 3 if shards.color else 1,
        "box": astuple(config.boxes[manifest.region]),
    }
    for name, value in expected.items():
        found = getattr(manifest, name)
        if found != value:
            raise UserError(
                f"{folder}: these shards were made with {name} {found}, the configuration says {value}; set "
                "shards.folder to a new folder and convert again, or change the configuration"
            )


def ensure_weights(config: Config, folder: Path) -> str | None:
    """The local file of the backbone's start weights, fetched and checked once a run; None from scratch.

    Raises:
        UserError: the download cannot be reached, or the given file does not fit the backbone.
    """
    source = config.model.weights
    if source == NO_WEIGHTS:
        return None
    path = folder / WEIGHTS_FILE
    if path.exists() and imported_from(path).get("source") == source:
        return str(path)
    print_out(f"start weights: {source}")
    path.parent.mkdir(parents=True, exist_ok=True)
    import_weights(config.model.backbone, None if source == IMAGENET else Path(source), path)
    return str(path)
