"""What a run needs before its first job: shards that fit the configuration, and start weights."""

import multiprocessing
import socket
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import astuple
from pathlib import Path

from data_tools.conversion.convert import ConversionSummary, convert
from data_tools.conversion.one_pass import OnProgress
from data_tools.conversion.page_notes import summary_lines
from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.manifest import MANIFEST, Manifest, read_manifest
from data_tools.shards.verify import check
from launch.config import Config
from launch.recipe.check_folds import check_folds
from launch.recipe.convert_on_cluster import over_all_hosts
from launch.recipe.corrections import check_corrections
from launch.recipe.demo import ensure_demo_pages
from launch.recipe.drawn_weights import DRAWN, ensure_drawn
from launch.terminal.console import print_note, print_out
from launch.terminal.page_progress import page_progress
from trainer.device import hide_gpus
from trainer.network.backbones import check_size
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.freezing import layer_names, plan_freezing
from trainer.network.weights import import_weights, imported_from

WEIGHTS_FILE = "weights/start.weights.h5"
"""Start weights, copied into the run folder, so that a run resumes without the place that they came from."""
LABEL_WARNINGS_SHOWN = 5
NO_WEIGHTS = "none"
IMAGENET = "imagenet"


def ensure_shards(config: Config) -> None:
    """Convert the shard sets that are missing, print a summary, and check that all sets fit the configuration.

    Draws the pages of the demo first if they are missing.

    Raises:
        UserError: missing pages, pages or labels that cannot be used, or shards of another geometry.
    """
    if not _complete(config):
        ensure_demo_pages(config)
    with page_progress("converting") as progress:
        summary = convert_missing(config, progress=progress)
    if summary is not None:
        if summary.written:
            print_out(
                f"{summary.folder}: {summary.pages} pages to {len(summary.written)} shard sets "
                f"in {summary.seconds:.0f} s, {summary.rejected} pages rejected"
            )
        for warning in summary.label_warnings[:LABEL_WARNINGS_SHOWN]:
            print_note(f"{warning.split}: {f'{warning.page_id} ' if warning.page_id else ''}{warning.detail}")
        more = len(summary.label_warnings) - LABEL_WARNINGS_SHOWN
        if more > 0:
            print_note(f"and {more} more label warnings, see label_warnings.jsonl in {summary.folder}")
        if summary.written:
            for line in summary_lines(summary.page_notes, pages=str(config.data.pages)):
                print_note(line)
    check_shards(config)


def convert_missing(config: Config, *, progress: OnProgress) -> ConversionSummary | None:
    """Convert the shard sets that are missing; prints nothing.

    progress: called with the number of pages done, in total and rejected. If the pages are not on this machine,
    complete shards are enough, and None is returned.

    Raises:
        UserError: pages or labels that cannot be used.
    """
    complete = _complete(config)
    if not config.paths.data_root.exists():
        if complete:
            return None
        raise UserError(bring_pages(config))
    with nullcontext() if complete else over_all_hosts(config) as share_runner:
        return convert(
            config.data,
            config.shards,
            regions=config.boxes,
            seed=config.seed,
            progress=progress,
            share_runner=share_runner,
        )


def _complete(config: Config) -> bool:
    sets = (config.paths.shard_set(split, region) for split in SPLITS for region in config.boxes)
    return all((folder / MANIFEST).exists() for folder in sets)


def bring_pages(config: Config) -> str:
    """What is missing where `data.root` does not exist, and the ways to bring it, in one line."""
    root = config.paths.data_root
    return (
        f"data.root: {root}: no such folder on {socket.gethostname()}; name the folder of the pages, or bring them "
        f"there: regionstack submit CLUSTER.yaml --pages DIR, or ray rsync-up CLUSTER.yaml DIR/ {root}/, from the "
        "machine that has them; aws s3 sync or gcloud storage rsync from a bucket; a mount of their storage (NFS)"
    )


def verify_shards(config: Config, *, deep: bool) -> int:
    """Check every shard set against its manifest and print each problem; 0, or 1 if there is a problem.

    deep: also read every byte and compare checksums.
    """
    folders = [config.paths.shard_set(split, region) for split in SPLITS for region in config.boxes]
    problems = [problem for folder in folders for problem in check(folder, deep=deep)]
    for problem in problems:
        print_out(problem)
    print_out(f"{config.paths.shards}: {len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


def check_shards(config: Config) -> None:
    """Compare the manifest of every shard set with the configuration.

    Raises:
        UserError: a set is missing, or differs in size, box or channels (the message says how to fix it), or a stage's
            `image_px` does not fit the shards or the backbone.
    """
    for split in SPLITS:
        for region in config.boxes:
            folder = config.paths.shard_set(split, region)
            check_manifest(read_manifest(folder), config, folder)
    first = read_manifest(config.paths.shard_set("train", HOLISTIC))
    for name, stage in config.stages.items():
        try:
            geometry = Geometry(first.height, first.width, first.channels, stage.image_px)
            check_size(config.model.backbone, *geometry.size)
        except UserError as error:
            raise UserError(f"stages.{name}.{error}") from None


def check_labels(config: Config) -> None:
    """Check that batches, stack, corrections and folds fit the training pages; print what is worth knowing.

    Raises:
        UserError: a stage's batch is larger than the training set, the stack has too few hidden units for the classes,
            or as `check_corrections` and `check_folds`.
    """
    train = read_manifest(config.paths.shard_set("train", HOLISTIC))
    for name, stage in config.stages.items():
        if stage.global_batch > train.count:
            raise UserError(
                f"stages.{name}.global_batch: {stage.global_batch} is more than the {train.count} training pages; "
                "lower it, or add training pages"
            )
    config.stack.check_hidden(len(train.class_ids))
    check_corrections(config)
    for note in check_folds(config):
        print_note(note)


def check_manifest(manifest: Manifest, config: Config, folder: Path) -> None:
    """Compare one manifest with the configuration.

    Raises:
        UserError: they differ; the message names the field, both values, and what to do.
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


def check_freezing(config: Config) -> None:
    """Check every stage's `freeze` against the layers of the network, before earlier stages train for days.

    Builds the network on the CPU; call `trainer.device.hide_gpus` first, since the GPUs belong to the workers.

    Raises:
        UserError: an entry that matches no layer, or a stage with nothing left to train.
    """
    first = read_manifest(config.paths.shard_set("train", HOLISTIC))
    geometry = Geometry(first.height, first.width, first.channels, first.height)
    layers = layer_names(build_classifier(config.model, geometry, classes=len(first.class_ids)))
    for name, stage in config.stages.items():
        try:
            plan_freezing(stage, layers)
        except UserError as error:
            raise UserError(f"stages.{name}.{error}") from None


def freezes(config: Config) -> bool:
    """Whether any stage freezes layers."""
    return any(stage.freeze for stage in config.stages.values())


def ensure_weights(config: Config) -> str | None:
    """Fetch, or train on drawn pages, and check the backbone's start weights once per run; the local file, or None to
    train from scratch.

    A child process without GPUs imports them, so that TensorFlow in this process stays unconfigured.

    Raises:
        UserError: the download cannot be reached, or the given file does not fit the backbone.
    """
    source, path = config.model.weights, weights_path(config)
    if path is None:
        return None
    if path.exists() and _comes_from(path, source):
        return str(path)
    file = None if source == IMAGENET else ensure_drawn(config) if source == DRAWN else Path(source)
    print_out(f"start weights: {file or source}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=hide_gpus) as child:
        child.submit(import_weights, config.model.backbone, file, path).result()
    return str(path)


def _comes_from(path: Path, source: str) -> bool:
    """Whether the start weights in a run folder are those of `model.weights: source`.

    Weights from drawn pages count wherever their cache was: the run resumes elsewhere, too, and it refuses other
    settings of `drawn` by itself.
    """
    origin = imported_from(path).get("source", "")
    return Path(origin).name.startswith(f"{DRAWN}-") if source == DRAWN else origin == source


def weights_path(config: Config, *, run: Path | None = None) -> Path | None:
    """Where the run folder keeps its start weights; None if it trains from scratch. run: None, as configured."""
    return None if config.model.weights == NO_WEIGHTS else (run or config.paths.run) / WEIGHTS_FILE
