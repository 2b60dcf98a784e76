"""Start weights from drawn pages for bench/accuracy.py: the given ones, trained further on classes that are drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.accuracy_runs import converted, regionstack
from data_tools.drawn import draw_data_set
from data_tools.errors import UserError
from data_tools.files import temporary_name
from launch.api import open_run
from launch.config import config_from
from trainer.serving.ensemble import RegionPages, open_member

PAGES = {"train": 300, "val": 30, "test": 10}
"""Pages of each of the 16 drawn classes."""
EPOCHS = 4
STAGE = "holistic"


def weights_path(out: Path, *, px: int) -> Path:
    """The file of the backbone's weights after training on drawn pages at `px`."""
    return out / f"drawn-{px}" / "backbone.weights.h5"


def train_weights(path: Path, base: Mapping[str, Any]) -> None:
    """Write the file of `weights_path`, unless it exists: the whole-page stage of `base`, trained on drawn pages.

    Raises:
        UserError: a command fails.
    """
    if path.exists():
        return
    draw_data_set(path.parent / "pages", seed=base["seed"], pages_per_class=PAGES)
    run = train(path.parent, base)
    record = open_run(run).record
    regions = {name: RegionPages(record.shape, edges) for name, edges in record.regions.items()}
    model = open_member(run, STAGE, regions, classes=len(record.class_ids)).model
    (backbone,) = (layer for layer in model.layers if hasattr(layer, "layers"))
    unfinished = temporary_name(path).with_suffix(".weights.h5")
    backbone.save_weights(unfinished)
    unfinished.rename(path)


def train(folder: Path, base: Mapping[str, Any]) -> Path:
    """A finished run of the whole-page stage on the drawn pages.

    Raises:
        UserError: a command fails; its output is in the run's folder.
    """
    pages = folder / "pages"
    stage = {**base["stages"][STAGE], "epochs": EPOCHS}
    config = config_from({
        **base,
        "data": {"root": str(pages), **{split: str(pages / "labels" / f"{split}.txt") for split in PAGES}},
        "regions": {},
        "shards": {**base["shards"], "folder": str(folder / "shards")},
        "stages": {STAGE: stage},
        "run": {"folder": str(folder / "run")},
    })  # fmt: skip
    status = 0 if converted(config) else regionstack(config, "convert")
    if status or regionstack(config, "train"):
        raise UserError(f"training on drawn pages failed; see {folder / 'run' / 'bench.log'}")
    return folder / "run"
