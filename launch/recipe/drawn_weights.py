"""Start weights from drawn pages: a backbone that has learned to tell drawn documents apart, trained once and cached.

`model.weights: drawn` starts from them. They are trained by the product itself: a run of one whole-page stage on pages
of `regionstack draw`, in a process of its own on this host. docs/accuracy.md has what they give.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from cluster.setup.horovod_target import cache_folder
from data_tools.config import to_mapping
from data_tools.documents.data_set import SPLITS
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.files import sha256, temporary_name, write_atomically
from data_tools.shards.lock import locked
from data_tools.versions import installed
from data_tools.workers.child import die_with_parent
from launch.config import Config
from launch.terminal.console import print_out
from trainer.device import hide_gpus
from trainer.network.backbones import SMALL, check_size

DRAWN = "drawn"
SEED = 1
VAL_SHARE, TEST_PAGES = 0.1, 2
"""Pages of each class besides the training pages: validation pages as a share of those, and test pages."""
SUFFIX = ".weights.h5"
SCAN = {"shift": 0.05, "scale": 0.1, "rotation_deg": 2.0, "shear_deg": 1.0, "brightness": 0.1, "contrast": 0.2,
        "noise": 0.02}  # fmt: skip


def drawn_path(config: Config) -> Path:
    """The file in the cache for these settings, whether it exists or not.

    Raises:
        UserError: `drawn.start` names a file that cannot be read, or the backbone has no ImageNet weights or cannot
            work at `drawn.image_px`.
    """
    from data_tools.drawn.data_set import VERSION

    _check(config)
    start = Path(config.drawn.start)
    recipe = _recipe(config, Path("build"))
    # A file counts by its content, wherever it lies.
    recipe["model"]["weights"] = sha256(_existing(start)) if start.suffix == ".h5" else config.drawn.start
    settings = {
        "recipe": recipe,
        "pages": [VERSION, *_pages(config)],
        "versions": installed("keras", "tensorflow"),
    }
    key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()
    folder = cache_folder(os.environ).with_name("weights")
    return folder / f"{DRAWN}-{config.model.backbone}-{key}{SUFFIX}"


def ensure_drawn(config: Config) -> Path:
    """The file of start weights from drawn pages; trains it if the cache has none. An interrupted training is resumed.

    Raises:
        UserError: another process is training it, its run fails, or `drawn.start` cannot be had.
    """
    path = drawn_path(config)
    if path.exists():
        return path
    build = path.with_name(path.name.removesuffix(SUFFIX))
    with locked(build, writer="run"):
        if not path.exists():
            _build(config, build, path)
        shutil.rmtree(build)
    return path


def _build(config: Config, build: Path, path: Path) -> None:
    from data_tools.drawn import draw_data_set

    print_out(f"start weights: training {config.model.backbone} on drawn pages, once, for {path}")
    recipe = _recipe(config, build)
    counts = dict(zip(SPLITS, _pages(config), strict=True))
    draw_data_set(build / "pages", seed=SEED, pages_per_class=counts)
    write_atomically(build / "config.yaml", yaml.safe_dump(recipe, sort_keys=False))
    _train(build)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=hide_gpus) as child:
        child.submit(_save_backbone, build / "run", path, config.drawn.image_px).result()


def _pages(config: Config) -> tuple[int, int, int]:
    train = config.drawn.pages_per_class
    return train, max(2, round(VAL_SHARE * train)), TEST_PAGES


def _recipe(config: Config, build: Path) -> dict[str, Any]:
    """The configuration of the run on drawn pages, as plain data."""
    drawn, pages = config.drawn, build / "pages"
    model = to_mapping(config.model)
    stage = {
        "image_px": drawn.image_px,
        "epochs": drawn.epochs,
        "global_batch": 32,
        "optimizer": {"name": "adam", "learning_rate": 1.0e-3},
        "augment": SCAN,
    }
    return {
        "seed": SEED,
        "data": {"root": str(pages), **{split: str(pages / "labels" / f"{split}.txt") for split in SPLITS}},
        "regions": {},
        "shards": {"folder": str(build / "shards"), "height": drawn.image_px, "width": drawn.image_px},
        "model": {
            "backbone": model["backbone"],
            "scaling": model["scaling"],
            "batchnorm_momentum": model["batchnorm_momentum"],
            "weights": drawn.start,
            "dense": [],
        },
        "training": {"label_smoothing": 0.1, "precision": config.training.precision},
        "stages": {HOLISTIC: stage},
        "stack": {"method": "average"},
        "run": {"folder": str(build / "run")},
        "tracking": {"tensorboard": False},
    }


def _train(build: Path) -> None:
    """Train as a person would, in a world of one: a launcher's variables are not for this process.

    The process ends with this one, however that ends: the next command resumes in the same run folder.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOROVOD_", "OMPI_"))}
    command = [sys.executable, "-m", "launch.cli", "train", "--config", str(build / "config.yaml")]
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), environment.get("PYTHONPATH", "")]))
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        status = child.wait()
    except KeyboardInterrupt:
        child.terminate()  # it saves
        child.wait()
        raise
    if status:
        raise UserError(
            f"model.weights: {DRAWN}: training on drawn pages ended with status {status}; its output is above, its run "
            f"in {build / 'run'}, and the same command resumes it"
        )


def _save_backbone(run: Path, path: Path, px: int) -> None:
    """Write the backbone of a finished run's whole-page model as a Keras weight file; in a process of its own."""
    from data_tools.drawn.classes import CLASS_NAMES
    from trainer.serving.ensemble import RegionPages, open_member

    pages = RegionPages((px, px, 1), (0.0, 0.0, 1.0, 1.0))
    model = open_member(run, HOLISTIC, {HOLISTIC: pages}, classes=len(CLASS_NAMES)).model
    (backbone,) = (layer for layer in model.layers if hasattr(layer, "layers"))
    unfinished = temporary_name(path)
    unfinished = unfinished.with_name(unfinished.name + SUFFIX)
    backbone.save_weights(unfinished)
    unfinished.replace(path)


def _check(config: Config) -> None:
    """Check what the run on drawn pages would reject by names of its own, after all pages are drawn."""
    drawn, backbone = config.drawn, config.model.backbone
    if drawn.start == "imagenet" and backbone == SMALL:
        raise UserError(f"drawn.start: there are no ImageNet weights for {SMALL}; set drawn.start: none")
    try:
        check_size(backbone, drawn.image_px, drawn.image_px)
    except UserError as error:
        raise UserError(f"drawn.{error}") from None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"drawn.start: {path}: no such file")
    return path
